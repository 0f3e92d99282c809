/** Which columns the table has: chosen, left out, and those that stay in sight. */
import { text } from "./format.js";
import { set, state } from "./state.js";
import { Component, html } from "./view.js";

export class Chooser extends Component {
  words = "";

  /** Show a column, or no longer. @param {string} id @param {boolean} isShown */
  toggle(id, isShown) {
    const code = encodeURIComponent(id);
    const [show, hide] = [state.show, state.hide].map((list) => list.filter((one) => one !== code));
    const usual = this.props.usual.some((one) => one.id === id);
    if (isShown) set(usual ? { show, hide: [...hide, code], pin: state.pin.filter((one) => one !== code) } : { show, hide });
    else set(usual ? { show, hide } : { show: [...show, code], hide });
  }

  /** @param {string} id */
  pin(id) {
    const code = encodeURIComponent(id);
    set({ pin: state.pin.includes(code) ? state.pin.filter((one) => one !== code) : [...state.pin, code] });
  }

  render() {
    const { every, shown, close } = this.props;
    const there = new Set(shown.map((one) => one.id));
    const words = this.words.toLowerCase().split(/\s+/).filter(Boolean);
    const isPinned = (id) => state.pin.includes(encodeURIComponent(id));
    const found = every.filter((one) => words.every((word) => `${one.id} ${one.head}`.toLowerCase().includes(word)));
    return html`<dialog open class="chooser" aria-label="columns">
      <p class="controls"><input type="search" aria-label="find a column" placeholder="find a column" value=${this.words} onInput=${(e) => { this.words = e.target.value; this.setState({}); }} />
        <button class="chip" onClick=${() => set({ show: [], hide: [], pin: [], all: false })}>as usual</button>
        <button class="quiet" aria-label="close columns" onClick=${close}>×</button></p>
      <ul>${found.slice(0, 300).map((one) => html`<li key=${one.id}>
        <label class="toggle"><input type="checkbox" checked=${there.has(one.id)} onChange=${() => this.toggle(one.id, there.has(one.id))} />${text(one.head)} <small>${one.sub}</small></label>
        ${there.has(one.id) && html`<button class="quiet" aria-pressed=${isPinned(one.id)} aria-label=${`keep ${text(one.head)} ${one.sub} in sight`} title="keep in sight" onClick=${() => this.pin(one.id)}>${isPinned(one.id) ? "◆" : "◇"}</button>`}</li>`)}</ul>
      ${found.length > 300 && html`<small>${found.length - 300} more: write a part of the name</small>`}
    </dialog>`;
  }
}
