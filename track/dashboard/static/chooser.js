/** Which columns the table has: chosen, left out, and those that stay in sight. */
import { text } from "./format.js";
import { flipped, set, state } from "./state.js";
import { html } from "./view.js";

/** Show a column, or no longer. @param {string} id @param {boolean} isShown @param {boolean} isUsual */
function choose(id, isShown, isUsual) {
  const [show, hide, pin] = [state.show, state.hide, state.pin].map((list) => list.filter((one) => one !== id));
  set({ show: isShown || isUsual ? show : [...show, id], hide: isShown && isUsual ? [...hide, id] : hide, pin: isShown ? pin : state.pin });
}

export function Chooser({ every, shown, usual }) {
  const isUsual = (id) => usual.some((one) => one.id === id);
  const there = new Set(shown.map((one) => one.id));
  const words = state.words.toLowerCase().split(/\s+/).filter(Boolean);
  const found = every.filter((one) => words.every((word) => `${one.id} ${one.head}`.toLowerCase().includes(word)));
  return html`<dialog open class="chooser" aria-label="columns">
    <p class="controls"><input type="search" aria-label="find a column" placeholder="find a column" value=${state.words} onInput=${(e) => set({ words: e.target.value })} />
      <button class="chip" onClick=${() => set({ show: [], hide: [], pin: [], all: false })}>as usual</button>
      <button class="quiet" aria-label="close columns" onClick=${() => set({ above: "" })}>×</button></p>
    <ul>${found.slice(0, 300).map((one) => html`<li key=${one.id}>
      <label class="toggle"><input type="checkbox" checked=${there.has(one.id)} onChange=${() => choose(one.id, there.has(one.id), isUsual(one.id))} /><span title=${text(one.head)}>${text(one.head)} <small>${one.sub}</small></span></label>
      ${there.has(one.id) && html`<button class="quiet" aria-pressed=${state.pin.includes(one.id)} aria-label=${`keep ${text(one.head)} ${one.sub} in sight`} title="keep in sight" onClick=${() => set({ pin: flipped(state.pin, one.id) })}>${state.pin.includes(one.id) ? "◆" : "◇"}</button>`}</li>`)}</ul>
    ${found.length > 300 && html`<small>${found.length - 300} more: write a part of the name</small>`}
  </dialog>`;
}
