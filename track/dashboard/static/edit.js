/** What a person may change of a run: its tags, a note, its status. Taken only where the server lets it be changed. */
import { change as send } from "./api.js";
import { text } from "./format.js";
import { Asking, html } from "./view.js";

/** A tag as it is typed: `paper`, or `paper=v2`. @param {string} typed */
export function tagOf(typed) {
  const [name, ...rest] = typed.split("=");
  return { name: name.trim(), value: rest.length ? rest.join("=").trim() : true };
}

export class Edit extends Asking {
  /** What is typed and not saved; null where nothing is. @type {string | null} */
  note = null;
  tag = ""; isSaving = false;

  /** @param {object} change @param {() => void} [then] */
  async save(change, then) {
    if (this.isSaving) return;
    [this.isSaving, this.failure] = [true, ""];
    this.setState({});
    await this.attempt(async () => {
      await send(this.props.page.row.uid, change).finally(() => (this.isSaving = false));
      then?.();
      this.props.saved();
    });
  }

  addTag() {
    const { name, value } = tagOf(this.tag);
    if (name) this.save({ tags: { [name]: value } }, () => (this.tag = ""));
  }

  render() {
    const { page } = this.props;
    const { row } = page;
    const note = this.note ?? page.note;
    const isNew = note !== page.note;
    const saveNote = () => this.save({ note }, () => (this.note = null));
    const statuses = page.statuses.includes(row.status) ? page.statuses : [row.status, ...page.statuses];
    return html`<section class="edit" aria-label="edit"><h3>edit</h3>
      <p class="facts">${Object.entries(row.tags).map(([name, value]) => html`<span key=${name} class="chip">${text(value === true ? name : `${name}=${value}`)}
          <button aria-label=${`remove tag ${text(name)}`} title="remove" disabled=${this.isSaving} onClick=${() => this.save({ tags: { [name]: null } })}>×</button></span>`)}
        <input aria-label="new tag" placeholder="tag, or tag=value" maxlength="1000" value=${this.tag}
          onInput=${(event) => { this.tag = event.target.value; this.setState({}); }} onKeyDown=${(event) => event.key === "Enter" && this.addTag()} />
        <button class="chip" disabled=${this.isSaving || !this.tag.trim()} onClick=${() => this.addTag()}>add tag</button></p>
      <textarea aria-label="note" placeholder="a note" maxlength="100000" rows=${Math.min(12, note.split("\n").length + 1)} value=${note}
        onInput=${(event) => { this.note = event.target.value; this.setState({}); }}></textarea>
      <p class="facts"><button class="chip" disabled=${this.isSaving || !isNew} onClick=${saveNote}>save note</button>
        <label>status <select value=${row.status} disabled=${this.isSaving} onChange=${(event) => this.save({ status: event.target.value })}>
          ${statuses.map((name) => html`<option key=${name} value=${name} selected=${name === row.status}>${text(name)}</option>`)}</select></label></p>
      ${this.failure && html`<p class="failure" role="alert">${text(this.failure)}</p>`}</section>`;
  }
}
