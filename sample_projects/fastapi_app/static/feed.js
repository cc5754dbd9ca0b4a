// New posts appear by themselves. Without JavaScript the page shows the latest ones at each load.
"use strict";

const posts = document.getElementById("posts");
const live = document.getElementById("live");
const form = document.getElementById("post");

function show(post) {
  const id = `post-${post.id}`;
  if (document.getElementById(id)) return; // the page or an earlier connection brought it
  const item = document.createElement("li");
  const name = document.createElement("b");
  const text = document.createElement("span");
  item.id = id;
  item.className = "new";
  name.textContent = post.name;
  text.textContent = post.text;
  item.append(name, " ", text);
  posts.prepend(item);
}

const source = new EventSource(posts.dataset.feed); // connects again by itself
source.onmessage = (event) => show(JSON.parse(event.data));
source.onopen = () => { live.hidden = false; };
source.onerror = () => { live.hidden = true; };

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  // The answer is a redirect to this page; the post itself comes through the feed.
  const answer = await fetch(form.action, {
    method: "POST", body: new FormData(form), redirect: "manual",
  }).catch(() => null);
  if (answer?.type === "opaqueredirect") form.elements.text.value = "";
  else form.submit(); // let the browser show what is wrong
});
