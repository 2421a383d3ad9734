/* global document */
// A picture opens alone in the window, where it can be enlarged: small print is hard on a phone.
document.addEventListener("DOMContentLoaded", () => {
  for (const picture of document.querySelectorAll("article img")) {
    if (picture.closest("a")) continue;
    const link = document.createElement("a");
    link.href = picture.getAttribute("src") ?? "";
    picture.replaceWith(link);
    link.append(picture);
  }
});
