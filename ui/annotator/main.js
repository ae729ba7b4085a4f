// Where the component begins: it shows the canvas for the data set that the page has chosen.
import {make} from './dom.js';
import {Lab} from './lab.js';

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
      await lab.begin(Number(new URLSearchParams(globalThis.location.search).get('image')) || begun.first);
    } catch (error) {
      console.warn('labeling', error);
      setTimeout(() => { if (mine === turn && !lab) boot(); }, 3000);
    }
  };
  watch('value', boot);
  boot();
};
