/** The vendored view library, with what it leaves out. */
import { Component as Vendored, html, render } from "./vendor/htm-preact.js";

export { html, render };

/** @type {new (props?: any) => {props: any, setState: (change: object) => void}} */
export const Component = /** @type {any} */ (Vendored);

/** A part that asks: again when it is shown for something else; what fails is said in it. */
export class Asking extends Component {
  failure = "";

  componentDidMount() {
    this.refresh();
  }

  componentDidUpdate() {
    this.refresh();
  }

  refresh() {}

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

  componentDidUpdate() {
    this.paint();
  }

  componentWillUnmount() {
    this.size.disconnect();
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
