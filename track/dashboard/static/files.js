/** The files of a run: they come down by a click, folders open, pictures and short texts are looked at. */
import { ask } from "./api.js";
import { bytes, number, text } from "./format.js";
import { flipped, set, state } from "./state.js";
import { Asking, html } from "./view.js";

const PICTURE = /\.(png|jpe?g|gif|webp)$/i;
const TEXT = /\.(txt|log|jsonl?|ya?ml|toml|ini|cfg|csv|tsv|md|py|sh|diff|patch)$/i;
const LONGEST = 100_000;

export class Files extends Asking {
  /** What is in what was opened, by its address: files of a folder, a text, or true for a picture. @type {Map<string, any>} */
  found = new Map();

  /** Bring a file down, once it is known to come. @param {MouseEvent} event @param {string} address */
  bring(event, address) {
    event.preventDefault();
    this.attempt(async () => {
      (await ask(address)).body?.cancel();
      location.assign(address);
    });
  }

  /** What is in a folder, a picture or a text. @param {string} address @param {string} what */
  look(address, what) {
    return this.once(this.found, address, async () => {
      const answer = await ask(address);
      return what === "files" ? answer.json() : what === "text" ? answer.text() : true;
    });
  }

  row(one, of, path) {
    const query = new URLSearchParams(of);
    const address = `api/file?${query}`;
    const what = one.kind === "folder" ? "files" : PICTURE.test(one.name) ? "picture" : TEXT.test(one.name) && one.size <= LONGEST ? "text" : "";
    const can = this.props.serves && one.digest && one.kind !== "elsewhere";
    const here = [...path, one.name].join("/") + (one.step === null || one.step === undefined ? "" : `~${one.step}`);
    const isOpen = state.seen.includes(here);
    const seen = can && what && isOpen && this.look(what === "files" ? `api/files?${query}` : address, what);
    const name = text(one.name);
    return html`<tr key=${address}><td style=${{ paddingLeft: `${path.length * 18}px` }}>
        ${can && what !== "files" ? html`<a class="link" href=${address} title=${`download ${name}`} onClick=${(event) => this.bring(event, address)}>${name}</a>` : name}
        ${can && what && html` <button class="chip" aria-expanded=${isOpen} aria-label=${`look at ${name}`} onClick=${() => set({ seen: flipped(state.seen, here) })}>${isOpen ? "▾" : "▸"}</button>`}</td>
        <td class="number">${bytes(one.size)}</td><td class="number">${number(one.step)}</td><td><code>${text(one.digest).slice(0, 12)}</code></td></tr>
      ${seen && !seen.files && html`<tr key=${`${address} seen`}><td class="seen" colspan="4">${seen === true ? html`<img src=${address} alt=${name} />` : html`<pre tabindex="0">${seen.split("\n").map(text).join("\n")}</pre>`}</td></tr>`}
      ${seen?.files?.map((file) => this.row(file, { ...of, file: file.digest }, [...path, one.name]))}
      ${seen?.left > 0 && html`<tr key="left"><td colspan="4">and ${seen.left} more</td></tr>`}`;
  }

  render() {
    const { files, uid } = this.props;
    if (!files.length) return "";
    return html`<section><h3>files</h3>${this.failure && html`<p class="failure" role="alert">${text(this.failure)}</p>`}
      <table class="plain"><thead><tr><th>name</th><th>size</th><th>step</th><th>sha256</th></tr></thead>
      <tbody>${files.map((one) => this.row(one, { uid, digest: one.digest }, []))}</tbody></table></section>`;
  }
}
