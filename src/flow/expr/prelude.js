// What scripts see, built once for each engine; then every way out is removed and the rest frozen.
(function (host) {
  'use strict';
  const { apply, ownKeys, getPrototypeOf, getOwnPropertyDescriptor, defineProperty, deleteProperty } = Reflect;
  const { freeze } = Object;
  const world = globalThis;
  const NativeDate = Date;
  const has = (object, key) => apply(Object.prototype.hasOwnProperty, object, [key]);
  const hide = (object, key, value) =>
    defineProperty(object, key, { value, writable: true, configurable: true, enumerable: false });

  // Loops in C that never ask whether time is up: a length over a million is refused before them.
  const LENGTH_MAX = 1000000;
  const isShort = (value) => {
    if (value !== null && typeof value === 'object' && value.length > LENGTH_MAX) {
      throw new RangeError('too long');
    }
  };
  const guard = (owner, name) => {
    const plain = owner[name];
    const spreads = name === 'concat' || name === 'from';
    hide(owner, name, { [name](...args) {
      isShort(this);
      for (let i = 0; spreads && i < args.length; i += 1) isShort(args[i]);
      return apply(plain, this, args);
    } }[name]);
  };
  for (const name of Object.getOwnPropertyNames(Array.prototype)) {
    if (name !== 'constructor' && typeof Array.prototype[name] === 'function') {
      guard(Array.prototype, name);
    }
  }
  guard(Array, 'from');
  const raw = String.raw;
  hide(String, 'raw', function (strings, ...values) {
    isShort(strings && strings.raw);
    return apply(raw, String, [strings, ...values]);
  });

  // Time and chance are the server's, so that a simulated run can be repeated.
  const now = () => host.now();
  function ServerDate(...args) {
    if (new.target === undefined) return new NativeDate(now()).toString();
    return args.length === 0 ? new NativeDate(now()) : new NativeDate(...args);
  }
  ServerDate.prototype = NativeDate.prototype;
  hide(ServerDate, 'now', now);
  hide(ServerDate, 'parse', NativeDate.parse);
  hide(ServerDate, 'UTC', NativeDate.UTC);
  hide(world, 'Date', ServerDate);
  hide(Math, 'random', () => host.random());

  const SPANS = { milliseconds: 1, seconds: 1e3, minutes: 6e4, hours: 36e5, days: 864e5, weeks: 6048e5 };
  const span = (amount, unit) => {
    if (typeof amount !== 'object') amount = { [unit]: amount };
    let total = 0;
    for (const key of Object.keys(amount)) {
      total += amount[key] * (SPANS[key] ?? SPANS[`${key}s`] ?? NaN);
    }
    return total;
  };
  class Moment {
    #ms;
    constructor(ms) { this.#ms = ms; }
    toMillis() { return this.#ms; }
    toSeconds() { return this.#ms / 1000; }
    toUnixInteger() { return Math.floor(this.#ms / 1000); }
    toISO() { return new NativeDate(this.#ms).toISOString(); }
    toISODate() { return this.toISO().slice(0, 10); }
    toJSDate() { return new NativeDate(this.#ms); }
    toJSON() { return this.toISO(); }
    toString() { return this.toISO(); }
    valueOf() { return this.#ms; }
    plus(amount, unit) { return new Moment(this.#ms + span(amount, unit)); }
    minus(amount, unit) { return new Moment(this.#ms - span(amount, unit)); }
    get year() { return new NativeDate(this.#ms).getUTCFullYear(); }
    get month() { return new NativeDate(this.#ms).getUTCMonth() + 1; }
    get day() { return new NativeDate(this.#ms).getUTCDate(); }
    get hour() { return new NativeDate(this.#ms).getUTCHours(); }
    get minute() { return new NativeDate(this.#ms).getUTCMinutes(); }
    get second() { return new NativeDate(this.#ms).getUTCSeconds(); }
    get weekday() { return new NativeDate(this.#ms).getUTCDay() || 7; }
  }

  // `$json` is one proxy for all evaluations: a field crosses over when it is asked for.
  let store = {};
  let isWhole = false;
  const whole = () => {
    if (!isWhole) store = Object.assign(host.json(), store);
    isWhole = true;
    return store;
  };
  const json = new Proxy({}, {
    get(_, key) {
      if (isWhole || typeof key === 'symbol' || has(store, key)) return store[key];
      const value = host.field(key);
      if (value !== undefined) store[key] = value;
      return store[key];
    },
    set(_, key, value) { whole()[key] = value; return true; },
    has(_, key) { return key in whole(); },
    deleteProperty(_, key) { delete whole()[key]; return true; },
    defineProperty() { return false; },
    setPrototypeOf() { return false; },
    preventExtensions() { return false; },
    ownKeys() { return ownKeys(whole()); },
    getOwnPropertyDescriptor(_, key) { return getOwnPropertyDescriptor(whole(), key); },
  });

  const ALL = 0, FIRST = 1, LAST = 2;
  class NodeView {
    #name;
    constructor(name) { host.exists(name); this.#name = name; }
    get item() { return host.ancestor(this.#name, host.index()); }
    pairedItem(index) { return host.ancestor(this.#name, index ?? host.index()); }
    itemMatching(index) { return host.ancestor(this.#name, index); }
    first(branch, run) { return host.given(this.#name, FIRST, branch ?? -1, run ?? -1); }
    last(branch, run) { return host.given(this.#name, LAST, branch ?? -1, run ?? -1); }
    all(branch, run) { return host.given(this.#name, ALL, branch ?? -1, run ?? -1); }
    get isExecuted() { return host.executed(this.#name); }
    get params() { return host.params(this.#name); }
  }
  class OldView {
    #name;
    constructor(name) { host.exists(name); this.#name = name; }
    get json() { return host.given(this.#name, ALL, -1, -1)[host.index()].json; }
    get binary() { return host.given(this.#name, ALL, -1, -1)[host.index()].binary; }
    get runIndex() { return host.passes(this.#name) - 1; }
    get parameter() { return host.params(this.#name); }
  }
  const isEmpty = (value) => {
    if (value === undefined || value === null || value === '') return true;
    if (value instanceof Moment || value instanceof NativeDate) return false;
    if (typeof value === 'object') return Object.keys(value).length === 0;
    return false;
  };
  const flat = (values) => (values.length === 1 && Array.isArray(values[0]) ? values[0] : values);
  const globals = {
    $: (name) => new NodeView(name),
    $if: (test, yes, no = false) => (test ? yes : no),
    $ifEmpty: (value, instead) => (isEmpty(value) ? instead : value),
    $not: (value) => !value,
    $min: (...values) => Math.min(...flat(values)),
    $max: (...values) => Math.max(...flat(values)),
    $node: new Proxy({}, { get: (_, name) => new OldView(name), set: () => false, defineProperty: () => false }),
    $input: {
      get item() { return { json, binary: host.binary() }; },
      first: () => host.input(FIRST),
      last: () => host.input(LAST),
      all: () => host.input(ALL),
      get params() { return host.params(host.name()); },
    },
    $workflow: {
      get id() { return host.workflow(0); },
      get name() { return host.workflow(1); },
      active: true,
    },
    $execution: { get id() { return host.run(); }, get mode() { return host.mode(); } },
    $prevNode: {
      get name() { return host.previous(0); },
      get outputIndex() { return host.previous(1); },
      get runIndex() { return host.previous(2); },
    },
  };
  for (const key of ownKeys(globals)) hide(world, key, globals[key]);
  const lazy = (key, get) => defineProperty(world, key, { get, configurable: true });
  for (const key of ['$json', '$data']) hide(world, key, json);
  lazy('$binary', () => host.binary());
  lazy('$itemIndex', () => host.index());
  lazy('$runIndex', () => host.pass());
  lazy('$parameter', () => host.params(host.name()));
  lazy('$now', () => new Moment(now()));
  lazy('$today', () => new Moment(Math.floor(now() / 864e5) * 864e5));

  // The more common of n8n's methods on plain values.
  const methods = (prototype, table) => {
    for (const key of Object.keys(table)) if (!has(prototype, key)) hide(prototype, key, table[key]);
  };
  const number = (value) => { const n = parseFloat(value); return Number.isNaN(n) ? undefined : n; };
  const common = {
    isEmpty() { return isEmpty(this.valueOf()); },
    isNotEmpty() { return !isEmpty(this.valueOf()); },
    toJsonString() { return JSON.stringify(this); },
  };
  methods(String.prototype, { ...common,
    toNumber() { return number(this); },
    toFloat() { return number(this); },
    toInt() { return Math.trunc(number(this)); },
    toBoolean() { return !['', '0', 'false', 'no'].includes(this.toLowerCase()); },
    toTitleCase() { return this.replace(/\S+/g, (w) => w[0].toUpperCase() + w.slice(1).toLowerCase()); },
    toSentenceCase() { return this.toLowerCase().replace(/(^|[.!?]\s+)(\S)/g, (m) => m.toUpperCase()); },
    toSnakeCase() { return this.toLowerCase().replace(/[ -]/g, '_').replace(/[^\w_]/g, ''); },
    parseJson() { return JSON.parse(this); },
    quote(mark = '"') { return mark + this.replaceAll(mark, `\\${mark}`) + mark; },
  });
  methods(Number.prototype, { ...common,
    round(digits = 0) { return Math.round(this * 10 ** digits) / 10 ** digits; },
    floor() { return Math.floor(this); },
    ceil() { return Math.ceil(this); },
    abs() { return Math.abs(this); },
    isEven() { return this % 2 === 0; },
    isOdd() { return Math.abs(this % 2) === 1; },
    toBoolean() { return this.valueOf() !== 0; },
    toInt() { return Math.trunc(this); },
    toFloat() { return this.valueOf(); },
  });
  methods(Boolean.prototype, { toBoolean() { return this.valueOf(); }, toInt() { return +this; } });
  methods(Array.prototype, { ...common,
    first() { return this[0]; },
    last() { return this[this.length - 1]; },
    sum() { return this.reduce((total, value) => total + Number(value), 0); },
    min() { return Math.min(...this); },
    max() { return Math.max(...this); },
    average() { return this.length === 0 ? 0 : this.sum() / this.length; },
    unique() { return [...new Set(this)]; },
    compact() { return this.filter((value) => !isEmpty(value)); },
    pluck(...keys) { return this.map((value) => (keys.length === 1 ? value[keys[0]] : keys.map((key) => value[key]))); },
    chunk(size) {
      const chunks = [];
      for (let at = 0; at < this.length; at += Math.max(1, size)) chunks.push(this.slice(at, at + size));
      return chunks;
    },
  });
  methods(Object.prototype, { ...common,
    hasField(key) { return has(this, key); },
  });

  const join = Array.prototype.join;
  const tools = {
    begin() { store = {}; isWhole = false; },
    kind(value) {
      if (value instanceof NativeDate) return 'date';
      return value instanceof Moment ? 'dateTime' : 'object';
    },
    text(value) { return value || value === 0 || value === false ? apply(join, [value], ['']) : ''; },
  };

  // The ways out: constructors make code of text, prototypes reach other scripts.
  for (const name of ['eval', 'Function', 'Proxy', 'Reflect', 'Promise', 'AsyncFunction', 'WeakRef',
    'FinalizationRegistry', 'SharedArrayBuffer', 'Atomics', 'queueMicrotask', 'escape', 'unescape',
    'performance', 'DOMException', 'Iterator', 'WebAssembly', 'gc', 'navigator', 'console']) {
    deleteProperty(world, name);
  }
  for (const name of ['getPrototypeOf', 'setPrototypeOf', 'defineProperty', 'defineProperties',
    'getOwnPropertyDescriptor', 'getOwnPropertyDescriptors', 'create', 'groupBy']) {
    deleteProperty(Object, name);
  }
  deleteProperty(Error, 'captureStackTrace');
  deleteProperty(Error, 'prepareStackTrace');
  for (const name of ['__proto__', '__defineGetter__', '__defineSetter__', '__lookupGetter__', '__lookupSetter__']) {
    deleteProperty(Object.prototype, name);
  }
  const next = [world, host, async function () {}, function* () {}, async function* () {},
    [][Symbol.iterator](), new Map()[Symbol.iterator](), new Set()[Symbol.iterator](),
    ''[Symbol.iterator](), ''.matchAll(/a/g), (function* () {})(), (async function* () {})(),
    new Moment(0), NodeView, OldView, ServerDate, NativeDate, tools];
  const seen = new Set([json, globals.$node]);
  while (next.length > 0) {
    const object = next.pop();
    if ((typeof object !== 'object' && typeof object !== 'function') || object === null) continue;
    if (seen.has(object)) continue;
    seen.add(object);
    deleteProperty(object, 'constructor');
    if (object !== world) freeze(object);
    for (const key of ownKeys(object)) {
      const { value, get, set } = getOwnPropertyDescriptor(object, key);
      next.push(value, get, set);
    }
    next.push(getPrototypeOf(object));
  }
  deleteProperty(world, 'globalThis');
  freeze(world);
  return tools;
})
