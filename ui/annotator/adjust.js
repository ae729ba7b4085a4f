// What changes how things look or how wide a tool is, and no label: the panel of tones, the radius, the tolerance.
import {MOST_TOLERANCE} from './tools_fill.js';

export const changeRadius = (lab, factor) => {
  const {studio} = lab;
  if (studio.tool.name === 'fill') {
    studio.tolerance = Math.round(Math.min(MOST_TOLERANCE, Math.max(1, factor > 1 ? studio.tolerance * factor + 1 : studio.tolerance * factor)));
    lab.hint(lab.text('tolerance', {n: studio.tolerance}));
    return;
  }
  studio.radius = Math.min(400, Math.max(0.5, studio.radius * factor));
  lab.part.display.fields.radius.value = studio.radius;
  studio.painter.request();
};
export const changeDisplay = (lab, {opacity, radius, names, cross, brushPolygon, ...tones}) => {
  const {studio} = lab, plain = JSON.stringify(tones);
  Object.assign(studio, {opacity, radius, names, cross, brushPolygon});
  if (plain !== lab.plainTones) { lab.plainTones = plain; lab.tones = tones; studio.painter.picture?.setTones(tones); }
  studio.painter.refresh();
};
export const toggleField = (lab, name) => {
  const field = lab.part.display.fields[name];
  field.checked = !field.checked;
  field.dispatchEvent(new Event('change'));
};
// A press beside the open panel of tones closes it.
export const closeDisplay = ({part: {display, root}}, target) => {
  if (!display.hidden && !display.contains(target) && !root.querySelector('[data-do=display]').contains(target)) display.hidden = true;
};
