// Two people's painted areas in one: theirs, with the pixels that I changed since we both began.
import {combine, grown} from './runs.js';
import {rasterOf} from './shapes.js';
import {boxOf, erased, painted} from './tools_brush.js';

const truth = (shapes, cls) => shapes.filter((shape) => shape.kind === 'mask' && shape.cls === cls && shape.state !== 'suggested').map(rasterOf);
const sum = (rasters) => rasters.reduce((whole, raster) => { const made = grown(whole, boxOf(raster)); combine(made, raster, 1); return made; }, null);
const less = (whole, rest) => {
  if (!whole) return null;
  const made = {...whole, bits: whole.bits.slice()};
  if (rest) combine(made, rest, 0);
  return made.bits.includes(1) ? made : null;
};

// `exclusive`: a pixel has one class.
export const paintedBoth = (base, mine, theirs, {size, exclusive}) => {
  let found = theirs;
  const classes = [...new Set([...base, ...mine].filter(({kind, state}) => kind === 'mask' && state !== 'suggested').map(({cls}) => cls))];
  const changes = classes.map((cls) => [cls, sum(truth(base, cls)), sum(truth(mine, cls))]).map(([cls, before, now]) => ({cls, gone: less(before, now), come: less(now, before)}));
  for (const {cls, gone} of changes) if (gone) found = erased(found, gone, (shape) => shape.cls === cls && shape.state !== 'suggested', size);
  for (const {cls, come} of changes) {
    if (!come) continue;
    const target = found.find((shape) => shape.kind === 'mask' && shape.cls === cls && shape.state !== 'suggested');
    found = painted(found, come, {cls, target, size, exclusive, locked: () => false});
  }
  return found;
};
