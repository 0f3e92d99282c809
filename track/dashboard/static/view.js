/** The vendored view library, with what it leaves out. */
import { flipped, set, state } from "./state.js";
import { Component as Vendored, html, render } from "./vendor/htm-preact.js";

export { html, render };

/** @type {new (props?: any) => {props: any, setState: (change: object) => void}} */
export const Component = /** @type {any} */ (Vendored);

export const AGAIN = 4000;
export const NEAR = 200;

/** Be told whether a part is in sight, or nearly. @param {Element} part @param {(isSeen: boolean) => void} told */
export function watchSight(part, told) {
  const watch = new IntersectionObserver((entries) => told(entries[entries.length - 1].isIntersecting), { rootMargin: `${NEAR}px` });
  watch.observe(part);
  return watch;
}

/** A part that is folded, or not, as the link says. @param {string} name @param {boolean} isUsual whether it is open by default
 * @param {any} head @param {any} inside */
export function fold(name, isUsual, head, inside) {
  const isOpen = () => isUsual !== state.folds.includes(name);
  return html`<details key=${name} class=${name} open=${isOpen()} onToggle=${(event) => event.target.open !== isOpen() && set({ folds: flipped(state.folds, name) })}>
    <summary><h3>${head}</h3></summary>${inside}</details>`;
}

/** A part that asks: again when it is shown for something else; what fails is said in it. */
export class Asking extends Component {
  failure = "";

  componentDidMount() { this.refresh(); }

  componentDidUpdate() { this.refresh(); }

  refresh() {}

  /** What is asked for once: nothing until it is there. What the store could not say is asked for again after a while.
   * @param {Map<string, any>} known @param {string} key @param {() => Promise<any>} ask */
  once(known, key, ask) {
    if (!known.has(key)) {
      known.set(key, null);
      this.attempt(() => ask().then((said) => known.set(key, said), (error) => {
        if (!error.isFinal) setTimeout(() => (known.delete(key), this.setState({})), AGAIN);
        throw error;
      }));
    }
    return known.get(key);
  }

  /** Do something, and keep the words of what fails. @param {() => Promise<any>} act */
  async attempt(act) {
    this.failure = await act().then(() => "", (error) => error.message);
    this.setState({});
  }
}

/** A part that paints on a canvas at its `place`, again when that has another size. */
export class Painted extends Component {
  place = { current: /** @type {any} */ (null) };

  componentDidMount() {
    this.size = new ResizeObserver(() => this.paint());
    this.size.observe(this.place.current);
    this.paint();
  }

  componentDidUpdate() { this.paint(); }

  componentWillUnmount() { this.size.disconnect(); }

  /** The canvas at its place as large as it is seen, empty, and what is painted with. @param {number} height */
  sheet(height) {
    const canvas = this.place.current;
    [canvas.width, canvas.height] = [canvas.clientWidth * devicePixelRatio, height * devicePixelRatio];
    const ctx = canvas.getContext("2d");
    ctx.scale(devicePixelRatio, devicePixelRatio);
    return ctx;
  }

  paint() {}
}

/** A part of the page whose module comes when it is first shown. @param {() => Promise<any>} load @param {any} [until] */
export function later(load, until = html`<p class="empty">…</p>`) {
  /** @type {any} */ let part = null;
  return class extends Asking {
    componentDidMount() {
      this.attempt(async () => (part ??= await load()));
    }

    render() {
      if (this.failure) return html`<p class="empty failure" role="alert">${this.failure}</p>`;
      return part ? html`<${part} ...${this.props} />` : until;
    }
  };
}
