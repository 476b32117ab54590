// What a preview finds instead of the internet.

export default {
  fetch() {
    throw new Error("A preview reaches nothing outside. Deploy the Worker to try this fetch.");
  },
};
