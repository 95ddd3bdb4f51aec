/* Lists that change in place: whoever has the focus or is being read keeps it. */

/** Elements for `items` in their order; `create(item)` makes one, `update(element, item)` fills it every time. */
export function keep(container, items, keyOf, create, update) {
  const there = new Map([...container.children].map((element) => [element.dataset.key, element]));
  items.forEach((item, index) => {
    const key = String(keyOf(item));
    const element = there.get(key) ?? create(item);
    there.delete(key);
    element.dataset.key = key;
    update(element, item);
    if (container.children[index] !== element) container.insertBefore(element, container.children[index] ?? null);
  });
  for (const gone of there.values()) gone.remove();
}
