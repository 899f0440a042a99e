// The state of a rollout is asked for every ten seconds: what somebody has opened stays open.

let opened = [];
const inside = (target) => [...target.querySelectorAll("details")];

document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  opened = inside(detail.target).map((each) => each.open);
});
document.addEventListener("htmx:afterSwap", ({ detail }) => {
  inside(detail.target).forEach((each, number) => {
    each.open = opened[number] ?? false;
  });
});
