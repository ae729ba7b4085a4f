// Buttons and fields inside a piece of HTML: a press sends what the button says and what the form around it holds.
const held = (form) => {
  const values = {};
  for (const field of form?.querySelectorAll('[name]') ?? []) {
    if (field.type === 'checkbox') {
      values[field.name] ??= [];
      if (field.checked) values[field.name].push(field.value);
    } else if (field.type !== 'radio' || field.checked) {
      values[field.name] = field.value;
    }
  }
  return values;
};
const send = (part) => {
  if (part.disabled) return;
  trigger('send', {...part.dataset, value: part.value ?? '', form: held(part.closest('[data-form]'))});
  if (part.matches('button')) {  // a double click is one press
    part.disabled = true;
    setTimeout(() => { part.disabled = false; }, 1200);
  }
};
const follow = (form) => {  // parts that depend on how many boxes are checked
  if (!form) return;
  const boxes = [...form.querySelectorAll('input[type=checkbox][data-counts]')], checked = boxes.filter((box) => box.checked);
  for (const part of form.querySelectorAll('[data-needs]')) part.disabled = checked.length < Number(part.dataset.needs);
  for (const part of form.querySelectorAll('[data-count]')) {
    part.textContent = (checked.length === 1 ? part.dataset.one : part.dataset.many).replace('{n}', checked.length.toLocaleString('en'));
  }
  for (const part of form.querySelectorAll('[data-merges]')) {  // says how many objects would change
    const into = form.querySelector(`[name="${part.dataset.merges}"]`).value, moved = checked.filter((box) => box.value !== into);
    const objects = moved.reduce((sum, box) => sum + Number(box.dataset.counts), 0), words = objects === 1 ? part.dataset.one : part.dataset.many;
    part.disabled = !into || !moved.length;
    part.textContent = part.disabled ? part.dataset.bare : words.replace('{n}', objects.toLocaleString('en'));
  }
  for (const all of form.querySelectorAll('[data-check-all]')) {
    all.checked = boxes.length > 0 && checked.length === boxes.length;
    all.indeterminate = checked.length > 0 && checked.length < boxes.length;
  }
};
const changed = (field) => {
  const button = field.closest('[data-row]')?.querySelector('[data-when-changed]');
  if (button) button.hidden = field.value === field.defaultValue;
};

element.addEventListener('click', (event) => {
  const part = event.target.closest('button[data-send]');
  if (part) send(part);
});
element.addEventListener('change', (event) => {
  const field = event.target;
  if (field.matches('[data-check-all]')) {
    field.closest('[data-form]').querySelectorAll('input[type=checkbox][data-counts]').forEach((box) => { box.checked = field.checked; });
  }
  if (field.matches('select[data-send], input[data-send]')) send(field);
  follow(field.closest('[data-form]'));
});
element.addEventListener('input', (event) => changed(event.target));
element.addEventListener('keydown', (event) => {
  const field = event.target;
  if (!field.matches('input')) return;
  const row = field.closest('[data-row]') ?? field.closest('[data-form]');
  if (event.key === 'Escape') { field.value = field.defaultValue; changed(field); }
  if (event.key === 'Enter' && field.type !== 'checkbox') {
    const button = row?.querySelector('[data-default]');
    if (button && !button.hidden) { event.preventDefault(); send(button); }
  }
});
const sync = () => {  // what was typed into the old content does not belong to the new
  for (const field of element.querySelectorAll('input, select')) {
    if (field.type === 'checkbox' || field.type === 'radio') field.checked = field.defaultChecked;
    else if (field.matches('select')) field.value = (field.querySelector('option[selected]') ?? field.options[0])?.value ?? '';
    else field.value = field.defaultValue;
    changed(field);
  }
  element.querySelectorAll('[data-form]').forEach(follow);
  element.querySelectorAll('button[data-send]:not([data-needs])').forEach((part) => { part.disabled = part.hasAttribute('disabled'); });
};
watch('value', sync);
sync();
