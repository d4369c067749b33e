"use strict";
// What the study wrote: data/cases.js calls `stratamil.cases`, data/case_*.js call `stratamil.patches`.
((S) => {
  const KEPT = 8; // cases whose patches stay in memory
  const loaded = new Map(); // file -> promise of a case's patches
  const waiting = new Map(); // file -> what to do with them
  const source = window.trustedTypes?.createPolicy("stratamil", {
    createScriptURL: (address) => {
      if (!/^data\/[^/\\?#]+\.js$/.test(address)) throw new TypeError(`not a file of data: ${address}`);
      return address;
    },
  });

  S.cases = (study) => {
    S.study = study;
    S.byKey = new Map(study.cases.map((one) => [one.key, one]));
    S.several = study.seeds.length > 1;
    for (const one of study.cases) {
      one.wrong = one.truth === null ? null : one.truth !== one.predicted;
      one.ofTruth = one.truth === null ? null : one.probability[one.truth];
      one.text = [one.id, one.patient, one.split, one.note]
        .filter((text) => text !== null)
        .join(" ")
        .toLowerCase();
    }
  };

  S.patches = (file, told) => waiting.get(file)?.(told);

  /** Return a promise of the patches of a case, which come as a script: a page on disk may read nothing else. */
  S.load = (one) => {
    if (!loaded.has(one.file))
      loaded.set(
        one.file,
        read(one).then((told) => prepared(told, one)),
      );
    const promise = loaded.get(one.file);
    loaded.delete(one.file); // the latest asked for is last
    loaded.set(one.file, promise);
    while (loaded.size > KEPT) loaded.delete(loaded.keys().next().value);
    promise.catch(() => loaded.delete(one.file));
    return promise;
  };

  const read = (one) =>
    new Promise((resolve, reject) => {
      const address = `data/${encodeURIComponent(one.file)}.js`;
      const script = document.createElement("script");
      const end = () => (waiting.delete(one.file), script.remove());
      waiting.set(one.file, resolve);
      script.addEventListener("load", () => {
        end();
        reject(new Error(`${address} does not hold this case. Write the case browser again.`));
      });
      script.addEventListener("error", () => {
        end();
        reject(new Error(`${address} is missing. Copy the whole folder of the case browser.`));
      });
      script.src = source ? source.createScriptURL(address) : address;
      document.head.append(script);
    });

  /** Add what follows from the data: names, ratio to the equal share, ranks, the largest values, shares of slices. */
  const prepared = (told, one) => {
    const { patches } = told;
    const n = patches.path.length;
    const data = { ...told, ...patches, case: one, n, gone: new Set(patches.missing) };
    data.name = patches.path.map((path) => path.slice(path.lastIndexOf("/") + 1));
    data.stain = patches.slice.map((slice) => told.slices[slice].stain);
    data.ratio = patches.weight.map((weight) => weight * one.n_patches);
    data.rank = ranks(patches.weight);
    data.index = new Map(patches.path.map((path, i) => [path, i]));
    data.placed = patches.x !== null && patches.y !== null;
    const largest = (values) => values.reduce((top, value) => Math.max(top, Math.abs(value)), 0) || 1;
    data.largest = { ratio: largest(data.ratio), contribution: patches.contribution.map(largest) };
    data.ofStain = new Map(told.stains.map(({ stain, weight }) => [stain, weight]));
    data.slices = told.slices.map((slice) => ({
      ...slice,
      name: `${S.study.stains[slice.stain]} ${slice.id}`,
      share: slice.weight * (data.ofStain.get(slice.stain) ?? 0), // of the attention of the case
      part: slice.n / one.n_patches, // of its patches: the share if all patches had the same attention
    }));
    return data;
  };

  const ranks = (weights) => {
    const rank = new Uint32Array(weights.length);
    const order = weights.map((_, i) => i).sort((a, b) => weights[b] - weights[a]);
    order.forEach((i, place) => (rank[i] = place + 1));
    return rank;
  };

  /** The address of the image of a patch, or null where the study has none. */
  S.image = (data, i) =>
    data.images === null ? null : data.images + data.path[i].split("/").map(encodeURIComponent).join("/");

  S.sheetAddress = (data, sheet) => data.sheets[sheet].split("/").map(encodeURIComponent).join("/");

  /** What stands in place of an image where the study has none: stain and slice, and the patch's number in it. */
  const placeName = (data, i) => {
    const slice = data.slices[data.slice[i]];
    return [S.stainTag(slice.stain), S.el("span", null, slice.id), S.el("b", null, `#${data.number[i]}`)];
  };

  /** Show the thumbnail of a patch, `size` pixels wide, as the background of an element. */
  S.thumb = (element, data, i, size) => {
    const sheet = data.sheet[i];
    element.classList.toggle("bare", sheet < 0);
    if (sheet < 0) {
      element.style.backgroundImage = "none";
      if (data.images === null) S.fill(element, placeName(data, i));
      else element.textContent = "no image";
      return element;
    }
    const { columns } = S.study;
    const [column, row] = [data.cell[i] % columns, Math.floor(data.cell[i] / columns)];
    const address = S.sheetAddress(data, sheet);
    if (element.firstChild) element.replaceChildren();
    element.style.backgroundImage = `url("${address.replace(/['()]/g, (c) => `%${c.charCodeAt(0).toString(16)}`)}")`;
    element.style.backgroundSize = `${columns * size}px auto`;
    element.style.backgroundPosition = `${-column * size}px ${-row * size}px`;
    return element;
  };
})(window.stratamil);
