import { httpServerHandler } from "cloudflare:node";
import express from "express";

const app = express();

// Reads JSON bodies into req.body.
app.use(express.json());

// A middleware of our own: every answer says what was asked.
app.use((req, res, next) => {
  res.set("X-Asked", `${req.method} ${req.path}`);
  next();
});

app.get("/", (req, res) => {
  res.json({ message: "Express runs on Skerry.", try: ["GET /hello/you", "POST /echo"] });
});

app.get("/hello/:name", (req, res) => {
  res.json({ message: `Hello, ${req.params.name}!` });
});

app.post("/echo", (req, res) => {
  res.json({ youSent: req.body });
});

app.use((req, res) => {
  res.status(404).json({ error: `There is no ${req.method} ${req.path} here.` });
});

// Four parameters make an error handler: a body that is not JSON ends here, with status 400.
app.use((error, req, res, next) => {
  const status = error.status ?? 500;
  if (status === 500) console.error(error);
  res.status(status).json({ error: status === 500 ? "Something went wrong." : error.message });
});

// No port is opened: the number joins the app to the handler that visitors reach.
app.listen(3000);
export default httpServerHandler({ port: 3000 });
