// Two of a comparison's pictures in one place: laid over each other, in turns, their difference, or side by side; zoom
// and pan move both. `root` holds the viewer, hidden until this runs, and the pictures to choose from, which stand there
// without any script.
const startViewer = (root) => {
  const viewer = root.querySelector(".viewer:not([data-ready])");
  if (!viewer) return;
  viewer.dataset.ready = "yes";
  const BLINK_MS = 700, MOST = 16, GRIP_PX = 30;
  const find = (selector) => viewer.querySelector(selector);
  const pictures = [...root.querySelectorAll("img[data-picture]")];
  const stage = find(".stage"), at = find("input"), seen = find(".seen");
  const sides = { left: find(".left img"), right: find(".right img") };
  const selects = { left: find("select.for-left"), right: find("select.for-right") };
  const view = { zoom: 1, x: 0, y: 0 };
  const pointers = new Map();
  let mode = "slide", blinking = 0, last = null;

  const names = () => {
    const [left, right] = [sides.left.alt, sides.right.alt];
    const shown = { slide: `${left} | ${right}`, beside: `${left} | ${right}`, difference: `|${left} − ${right}|, three times as bright` };
    seen.textContent = mode === "blink" ? (stage.classList.contains("flipped") ? left : right) : shown[mode];
    at.setAttribute("aria-valuetext", `${at.value} percent ${left}`);
  };
  const show = (side) => {
    const chosen = pictures[selects[side].value];
    sides[side].src = chosen.src;
    sides[side].alt = chosen.alt;
    const used = Object.values(selects).map((select) => Number(select.value));
    pictures.forEach((each, number) => each.closest(".pick")?.classList.toggle("chosen", used.includes(number)));
    names();
  };
  const move = () => {
    const within = (value) => Math.min(0, Math.max(1 - view.zoom, value));
    [view.x, view.y] = [within(view.x), within(view.y)];
    stage.style.setProperty("--zoom", view.zoom);
    stage.style.setProperty("--x", `${100 * view.x}%`);
    stage.style.setProperty("--y", `${100 * view.y}%`);
    stage.classList.toggle("zoomed", view.zoom > 1);
  };
  // A place of the screen as shares of the pane that it lies in: of two side by side, the same in both.
  const place = (event) => {
    const panes = mode === "beside" ? ["left", "right"] : ["right"];
    const boxes = panes.map((side) => find(`.pane.${side}`).getBoundingClientRect());
    const box = boxes.find((each) => event.clientX <= each.right) ?? boxes.at(-1);
    return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
  };
  const zoom = (factor, fixed = { x: 0.5, y: 0.5 }) => {
    const next = Math.min(MOST, Math.max(1, view.zoom * factor));
    view.x = fixed.x - ((fixed.x - view.x) * next) / view.zoom;
    view.y = fixed.y - ((fixed.y - view.y) * next) / view.zoom;
    view.zoom = next;
    move();
  };
  const slide = (share) => {
    at.value = 100 * share;
    stage.style.setProperty("--at", `${at.value}%`);
    names();
  };
  const flip = () => { stage.classList.toggle("flipped"); names(); };
  const enter = (next) => {
    if (next === "blink" && mode === "blink") flip();
    mode = next;
    clearInterval(blinking);
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (mode === "blink" && !still) blinking = setInterval(() => (viewer.isConnected ? flip() : clearInterval(blinking)), BLINK_MS);
    stage.classList.remove("slide", "blink", "difference", "beside");
    stage.classList.add(mode);
    for (const each of viewer.querySelectorAll("[data-mode]")) each.setAttribute("aria-pressed", each.dataset.mode === mode);
    shape();
    names();
  };
  const shape = () => {
    const { naturalWidth: width, naturalHeight: height } = sides.right;
    if (!width) return;
    stage.style.aspectRatio = `${(mode === "beside" ? 2 : 1) * width} / ${height}`;
    viewer.style.maxWidth = `min(46rem, ${(80 * width) / height}vh)`;
  };

  for (const [side, number] of Object.entries({ left: viewer.dataset.left, right: viewer.dataset.right })) {
    pictures.forEach((each, index) => selects[side].add(new Option(each.alt, index)));
    selects[side].value = number;
    selects[side].addEventListener("change", () => show(side));
  }
  sides.right.addEventListener("load", shape);
  show("left");
  show("right");
  root.addEventListener("click", (event) => {
    const picked = event.target.closest?.(".pick")?.querySelector("img[data-picture]");
    if (!picked || !viewer.isConnected) return;
    selects.right.value = pictures.indexOf(picked);
    show("right");
    viewer.scrollIntoView({ block: "nearest" });
  });
  viewer.addEventListener("click", (event) => {
    const { mode: next, zoom: factor } = event.target.dataset;
    if (next) enter(next);
    if (factor === "1") Object.assign(view, { zoom: 1, x: 0, y: 0 }), move();
    else if (factor) zoom(Number(factor));
  });
  at.addEventListener("input", () => slide(at.value / 100));
  stage.addEventListener("dblclick", (event) => zoom(view.zoom > 1 ? 1 / view.zoom : 4, place(event)));
  stage.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return; // else the page could not be scrolled past it
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 200), place(event));
  }, { passive: false });
  stage.addEventListener("pointerdown", (event) => {
    stage.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, event);
    const box = stage.getBoundingClientRect();
    const grips = Math.abs(event.clientX - box.left - (at.value / 100) * box.width) < GRIP_PX;
    last = { slides: mode === "slide" && (view.zoom === 1 || grips), event };
    if (last.slides) slide((event.clientX - box.left) / box.width);
    at.focus({ preventScroll: true, focusVisible: false });
    event.preventDefault();
  });
  stage.addEventListener("pointermove", (event) => {
    if (!pointers.has(event.pointerId) || !last) return;
    const before = [...pointers.values()];
    pointers.set(event.pointerId, event);
    const now = [...pointers.values()];
    if (now.length === 2) {
      const far = ([a, b]) => Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
      const middle = ([a, b]) => ({ clientX: (a.clientX + b.clientX) / 2, clientY: (a.clientY + b.clientY) / 2 });
      const [from, to] = [place(middle(before)), place(middle(now))];
      view.x += to.x - from.x;
      view.y += to.y - from.y;
      zoom(far(now) / Math.max(1, far(before)), to);
    } else if (last.slides) {
      const box = stage.getBoundingClientRect();
      slide((event.clientX - box.left) / box.width);
    } else {
      const [from, to] = [place(last.event), place(event)];
      view.x += to.x - from.x;
      view.y += to.y - from.y;
      last.event = event;
      move();
    }
  });
  for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, (event) => {
    pointers.delete(event.pointerId);
    if (last) last = pointers.size ? { slides: false, event: [...pointers.values()][0] } : null;
  });
  at.addEventListener("keydown", (event) => {
    const factor = { "+": 1.5, "=": 1.5, "-": 1 / 1.5 }[event.key];
    const step = { ArrowLeft: [0.1, 0], ArrowRight: [-0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[event.key];
    if (factor) zoom(factor);
    else if (step && event.shiftKey) [view.x, view.y] = [view.x + step[0], view.y + step[1]], move();
    else return;
    event.preventDefault();
  });
  enter("slide");
  slide(0.5);
  viewer.hidden = false;
};
