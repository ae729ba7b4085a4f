// Where the component begins: it shows the canvas for the data set that the page has chosen.
import {make} from './dom.js';
import {Lab} from './lab.js';

// The image of this set that the address names ("7" or "7@set"), or 0.
const placeIn = (dataset) => {
  const query = new URLSearchParams(globalThis.location.search), [image, set = query.get('dataset')] = (query.get('image') ?? '').split('@');
  return !set || set === dataset ? Number(image) || 0 : 0;
};

// The component has loaded. `props.value` is the id of the data set to label, or "".
export const start = ({element, props, server, watch}) => {
  const root = element.querySelector('.lb-an');
  let lab = null, turn = 0;
  const boot = async () => {
    turn += 1;
    const mine = turn, dataset = props.value || '';
    if (lab?.dataset === dataset) return;
    lab?.close();
    lab = root.lab = null;
    root.replaceChildren();
    root.hidden = !dataset;
    if (!dataset) return;
    try {
      const begun = await server.label_begin({dataset, language: globalThis.lightbox?.language});
      if (mine !== turn) return;
      if (!begun) throw new Error('label_begin');
      if (begun.error) { root.replaceChildren(make('p', {class: 'lb-an-none'}, `${begun.error.message} ${begun.error.remedy}`)); return; }
      lab = root.lab = new Lab(root, server, dataset, begun);
      await lab.begin(placeIn(dataset) || begun.first);
    } catch (error) {
      console.warn('labeling', error);
      setTimeout(() => { if (mine === turn && !lab) boot(); }, 3000);
    }
  };
  watch('value', boot);
  boot();
};
