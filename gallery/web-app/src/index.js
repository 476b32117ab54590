// The files of public/ are served without this script. It answers /api/* only, and a path that is
// neither gets index.html, so that every address of the app can be opened by itself.

const ROOMS = [
  { id: "attic", name: "Attic", windows: 1 },
  { id: "kitchen", name: "Kitchen", windows: 3 },
  { id: "study", name: "Study", windows: 2 },
];

export default {
  fetch(request) {
    const { pathname } = new URL(request.url);
    if (pathname === "/api/rooms") return Response.json(ROOMS);
    const room = ROOMS.find(({ id }) => pathname === `/api/rooms/${id}`);
    if (room) return Response.json(room);
    return Response.json({ error: `There is nothing at ${pathname}.` }, { status: 404 });
  },
};
