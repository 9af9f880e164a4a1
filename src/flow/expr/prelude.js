// What scripts see, built once for each engine; then every way out is removed and the rest frozen.
(function (host) {
  'use strict';
  const { apply, ownKeys, getPrototypeOf, getOwnPropertyDescriptor, defineProperty, deleteProperty } = Reflect;
  const { freeze } = Object;
  const world = globalThis;
  const NativeDate = Date;
  const Typed = getPrototypeOf(Uint8Array);
  const typedLength = getOwnPropertyDescriptor(Typed.prototype, 'length').get;
  const has = (object, key) => apply(Object.prototype.hasOwnProperty, object, [key]);
  const hide = (object, key, value) =>
    defineProperty(object, key, { value, writable: true, configurable: true, enumerable: false });

  // Loops in C that never ask whether time is up: a length over a million is refused before them.
  const LENGTH_MAX = 1000000;
  const { isArray } = Array;
  const tooLong = () => { throw new RangeError('too long'); };
  // A length that a getter tells, or an object, could be another one the next time.
  const isShort = (value) => {
    if (value === null || (typeof value !== 'object' && typeof value !== 'function')) return;
    if (isArray(value)) {
      if (value.length > LENGTH_MAX) tooLong();
      return;
    }
    for (let owner = value; owner !== null; owner = getPrototypeOf(owner)) {
      if (owner === Typed.prototype) {
        if (apply(typedLength, value, []) > LENGTH_MAX) tooLong();
        return;
      }
      const found = getOwnPropertyDescriptor(owner, 'length');
      if (found === undefined) continue;
      const length = found.value;
      if (found.get !== undefined || typeof length === 'object' || typeof length === 'function' || length > LENGTH_MAX) tooLong();
      return;
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
  // Searching a text for a text takes the product of their lengths, all of it in C.
  const PRODUCT_MAX = 1e8;
  const TEXT_MAX = 1e7;
  const search = (name) => {
    const plain = String.prototype[name];
    hide(String.prototype, name, { [name](pattern, ...rest) {
      if (this === null || this === undefined || pattern instanceof RegExp) return apply(plain, this, [pattern, ...rest]);
      const text = `${this}`;
      const wanted = pattern === undefined ? pattern : `${pattern}`;
      if (text.length * (wanted ?? '').length > PRODUCT_MAX || (rest.length > 0 && text.length > TEXT_MAX)) tooLong();
      return apply(plain, text, arguments.length === 0 ? [] : [wanted, ...rest]);
    } }[name]);
  };
  for (const name of ['indexOf', 'lastIndexOf', 'includes', 'split', 'replace', 'replaceAll']) search(name);
  // What becomes JSON is looked through before: writing it never asks, and one object may stand
  // in it a million times.
  const NODES_MAX = 1000000;
  const weigh = (value) => {
    let left = NODES_MAX;
    const next = [value];
    while (next.length > 0) {
      const one = next.pop();
      if (one === null || typeof one !== 'object') continue;
      const values = isArray(one) ? one : Object.values(one);
      left -= 1 + values.length;
      if (left < 0) tooLong();
      for (const inner of values) if (inner !== null && typeof inner === 'object') next.push(inner);
    }
  };
  const stringify = JSON.stringify;
  hide(JSON, 'stringify', function (value, replacer, space) {
    weigh(value);
    isShort(replacer);
    return apply(stringify, JSON, [value, replacer, space]);
  });
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

  // Errors that an expression cannot hide: everything else that is thrown makes it undefined.
  const NativeError = Error;
  const fail = (message) => {
    const error = new NativeError(message);
    hide(error, 'name', 'ExpressionError');
    throw error;
  };

  // Larger parts are read when the first expression needs them.
  const kit = { host, has, fail, apply, NativeDate, NativePromise: Promise, NativeProxy: Proxy, now, zone: () => host.zone(), input: () => host.input(0) };
  const parts = {};
  const part = (name) => {
    if (parts[name] === undefined) {
      parts[name] = host.load(name)(kit);
      harden([parts[name]]);
    }
    return parts[name];
  };
  const readDates = () => {
    if (parts.luxon !== undefined) return;
    intl();
    extensions();
    host.load('luxon')((made) => { parts.luxon = made; });
    const zones = parts.luxon.IANAZone;
    zones.isValidZone = (zone) => typeof zone === 'string' && host.offset(zone, 0) !== undefined;
    zones.prototype.offset = function (ms) { return host.offset(this.name, ms) ?? NaN; };
    harden([parts.luxon]);
  };
  const luxon = () => {
    readDates();
    const zone = host.zone();
    if (parts.zone !== zone) {
      parts.luxon.Settings.defaultZone = zone;
      parts.zone = zone;
    }
    return parts.luxon;
  };
  kit.luxon = luxon;
  const intl = () => part('intl');
  const extensions = () => part('extensions');
  kit.formatNumber = (value, locale, options) => new (intl().NumberFormat)(locale, options).format(value);
  const NAMES = { EST: 'Eastern Standard Time', EDT: 'Eastern Daylight Time', CST: 'Central Standard Time', CDT: 'Central Daylight Time',
    MST: 'Mountain Standard Time', MDT: 'Mountain Daylight Time', PST: 'Pacific Standard Time', PDT: 'Pacific Daylight Time',
    CET: 'Central European Standard Time', CEST: 'Central European Summer Time', GMT: 'Greenwich Mean Time', BST: 'British Summer Time',
    EET: 'Eastern European Standard Time', EEST: 'Eastern European Summer Time', WET: 'Western European Standard Time', WEST: 'Western European Summer Time',
    UTC: 'Coordinated Universal Time', JST: 'Japan Standard Time', IST: 'India Standard Time' };
  kit.zoneName = (zone, ms, style) => {
    const offset = host.offset(zone, ms);
    const short = host.abbreviation(zone, ms);
    const minutes = Math.abs(offset % 60);
    const hours = Math.floor(Math.abs(offset) / 60);
    const plain = offset === 0 ? 'GMT' : `GMT${offset < 0 ? '-' : '+'}${hours}${minutes === 0 ? '' : `:${String(minutes).padStart(2, '0')}`}`;
    if (style === 'long') return NAMES[short] ?? plain;
    return /^America\/|^US\/|^Pacific\/Honolulu$/.test(zone) && /^[A-Z]+$/.test(short) || short === 'UTC' ? short : plain;
  };
  const isDateTime = (value) => parts.luxon !== undefined && parts.luxon.DateTime.isDateTime(value);
  kit.isDateTime = isDateTime;
  kit.isDuration = (value) => parts.luxon !== undefined && parts.luxon.Duration.isDuration(value);

  // `$json` is one proxy for all evaluations: a field crosses over when it is asked for. What has an
  // identity or takes long to cross is kept, apart and without a prototype: one look finds it. As long
  // as nothing is kept, the host gives short fields itself, and asks `look` for the rest.
  const NONE = {};
  let fields;
  let all;
  const whole = () => {
    host.keeps();
    return (all ??= Object.assign(host.json(), fields));
  };
  const look = (key) => {
    if (all !== undefined) return all[key];
    if (typeof key === 'symbol') return NONE[key];
    let value = fields === undefined ? undefined : fields[key];
    if (value !== undefined) return value;
    value = host.field(key);
    if (value === undefined) return NONE[key];
    if (value !== null && (typeof value === 'object' || value.length > host.LONG)) {
      host.keeps();
      if (fields === undefined) fields = { __proto__: null };
      fields[key] = value;
    }
    return value;
  };
  const json = new Proxy({ look }, {
    get: host.get,
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
  const plainCall = (args, name) => {
    if (args.length > 0) fail(`$input.${name}() should have no arguments`);
  };
  class NodeView {
    #name;
    constructor(name) { host.exists(name); this.#name = name; }
    get item() { return host.ancestor(this.#name, host.index()); }
    pairedItem(index) { return host.ancestor(this.#name, index ?? host.index()); }
    itemMatching(index) {
      if (index === undefined) fail('itemMatching() needs the index of an item');
      return host.ancestor(this.#name, index);
    }
    first(branch, run) { return host.given(this.#name, FIRST, branch ?? -1, run ?? -1); }
    last(branch, run) { return host.given(this.#name, LAST, branch ?? -1, run ?? -1); }
    all(branch, run) { return host.given(this.#name, ALL, branch ?? -1, run ?? -1); }
    get isExecuted() { return host.executed(this.#name); }
    get params() { return host.params(this.#name); }
    get context() { return host.context(this.#name); }
  }
  class OldView {
    #name;
    constructor(name) { host.exists(name); this.#name = name; }
    #item() {
      const items = host.given(this.#name, ALL, -1, -1);
      const index = host.index();
      if (index >= items.length) fail(`the node '${this.#name}' gave ${items.length} items: there is none at ${index}`);
      return items[index];
    }
    get json() { return this.#item().json; }
    get data() { return this.#item().json; }
    get binary() { return this.#item().binary; }
    get runIndex() { return host.passes(this.#name) - 1; }
    get parameter() { return host.params(this.#name); }
    get context() { return host.context(this.#name); }
  }
  const isEmpty = (value) => {
    if (value === undefined || value === null || value === '') return true;
    if (value instanceof NativeDate || isDateTime(value)) return false;
    if (typeof value === 'object') return Object.keys(value).length === 0;
    return false;
  };
  kit.isEmpty = isEmpty;
  const flat = (values) => (values.length === 1 && Array.isArray(values[0]) ? values[0] : values);
  const text = (key, value) => host.setCustom(String(key), String(value));
  const node = (key) => host.node(key);
  const globals = {
    $: (name) => new NodeView(name),
    $if: (test, yes, no = false) => (test ? yes : no),
    $ifEmpty: (value, instead) => (isEmpty(value) ? instead : value),
    $not: (value) => !value,
    not: (value) => !value,
    $min: (...values) => Math.min(...flat(values)),
    min: (...values) => Math.min(...flat(values)),
    $max: (...values) => Math.max(...flat(values)),
    max: (...values) => Math.max(...flat(values)),
    $average: (...values) => extensions().average(flat(values)),
    average: (...values) => extensions().average(flat(values)),
    numberList: (from, to) => extensions().numberList(from, to),
    zip: (keys, values) => extensions().zip(keys, values),
    $ext: (value, name, args) => extensions().extend(value, name, args),
    $extOptional: (value, name, args) =>
      (value === undefined || value === null ? undefined : extensions().extend(value, name, args())),
    $jmespath: (value, query) => {
      if (typeof query !== 'string') fail('$jmespath() needs a value and a query');
      return host.jmespath(JSON.stringify(value) ?? 'null', query);
    },
    $node: new Proxy({}, { get: (_, name) => new OldView(name), set: () => false, defineProperty: () => false }),
    $input: {
      get item() { return { json, binary: host.binary(), pairedItem: host.paired() }; },
      first(...args) { plainCall(args, 'first'); return host.input(FIRST); },
      last(...args) { plainCall(args, 'last'); return host.input(LAST); },
      all(...args) { plainCall(args, 'all'); return host.input(ALL); },
      get params() { return host.params(host.name()); },
      get context() { return host.context(host.name()); },
    },
    $item: (index, run) => ({ $json: host.input(ALL)[index]?.json, get $node() { return globals.$node; } }),
    $items: (name, output, run) => (name === undefined ? host.input(ALL) : host.given(name, ALL, output ?? -1, run ?? -1)),
    $workflow: {
      get id() { return host.workflow(0); },
      get name() { return host.workflow(1); },
      active: true,
    },
    $execution: {
      get id() { return host.run(); },
      get mode() { return host.mode(); },
      get resumeUrl() { return host.resume() ?? fail('$execution.resumeUrl: there is no server that waits for a call'); },
      get resumeFormUrl() { return fail('$execution.resumeFormUrl: no node of this server waits for a form'); },
      customData: {
        get: (key) => host.custom()[key],
        set: (key, value) => (typeof key === 'object' ? Object.keys(key).forEach((one) => text(one, key[one])) : text(key, value)),
        getAll: () => host.custom(),
        setAll: (all) => Object.keys(all).forEach((key) => text(key, all[key])),
      },
    },
    $prevNode: {
      get name() { return host.previous(0); },
      get outputIndex() { return host.previous(1); },
      get runIndex() { return host.previous(2); },
    },
    $vars: new Proxy({}, { get: (_, name) => (typeof name === 'string' ? host.variable(name) : undefined), set: () => false, defineProperty: () => false }),
    $secrets: {},
    $env: new Proxy({}, { get: () => fail('access to env vars denied'), has: () => fail('access to env vars denied'),
      set: () => false, defineProperty: () => false }),
    $fromAI: () => fail('$fromAI() works only for tools of an AI agent'),
    $getPairedItem: (name, source, item) => host.ancestor(name, item?.item ?? item ?? host.index()),
    $self: {},
    $evaluateExpression: (expression, index) => {
      const before = host.at(index ?? host.index());
      tools.begin();
      try {
        const pieces = host.pieces(String(expression));
        const values = pieces.map((piece) => {
          if (typeof piece === 'string') return piece;
          try {
            return piece.call();
          } catch (error) {
            if (error?.name === 'ExpressionError') throw error;
            return piece.reaches ? undefined : null;
          }
        });
        return pieces.length === 1 ? values[0] : values.map(tools.text).join('');
      } finally {
        host.at(before);
        tools.begin();
      }
    },
  };
  globals.$jmesPath = globals.$jmespath;
  for (const key of ownKeys(globals)) hide(world, key, globals[key]);
  const lazy = (key, get) => defineProperty(world, key, { get, configurable: true });
  for (const key of ['$json', '$data']) hide(world, key, json);
  lazy('$binary', () => host.binary());
  lazy('$itemIndex', () => host.index());
  lazy('$position', () => host.index());
  lazy('$thisItemIndex', () => host.index());
  lazy('$thisItem', () => ({ json, binary: host.binary(), pairedItem: host.paired() }));
  lazy('$thisRunIndex', () => host.pass());
  lazy('$runIndex', () => host.pass());
  lazy('$parameter', () => parameters(host.name()));
  lazy('$rawParameter', () => parameters(host.name()));
  lazy('$nodeVersion', () => node('version'));
  lazy('$nodeId', () => node('id'));
  lazy('$webhookId', () => node('webhook'));
  lazy('$mode', () => (host.mode() === 'test' ? 'manual' : 'trigger'));
  for (const key of ['pageCount', 'response', 'request']) lazy(`$${key}`, () => host.fact(key));
  lazy('$executionId', () => host.run());
  lazy('$resumeWebhookUrl', () => globals.$execution.resumeUrl);
  lazy('$now', () => luxon().DateTime.now());
  lazy('$today', () => luxon().DateTime.now().startOf('day'));
  lazy('Intl', () => intl());
  for (const key of ['DateTime', 'Duration', 'Interval']) lazy(key, () => luxon()[key]);
  // `$parameter['&name']` is the neighbour called name.
  const parameters = (name) => {
    const found = host.params(name);
    for (const key of Object.keys(found)) hide(found, `&${key}`, found[key]);
    return found;
  };
  const localized = (owner, name, make) => hide(owner, name, { [name](...args) { return make(this, ...args); } }[name]);
  localized(Number.prototype, 'toLocaleString', (value, locale, options) => kit.formatNumber(Number(value), locale, options));
  localized(BigInt.prototype, 'toLocaleString', (value, locale, options) => kit.formatNumber(Number(value), locale, options));
  const local = (defaults) => (value, locale, options = {}) => {
    if (Number.isNaN(value.getTime())) return 'Invalid Date';
    const wanted = ['weekday', 'year', 'month', 'day', 'hour', 'minute', 'second', 'dateStyle', 'timeStyle', 'fractionalSecondDigits'];
    const given = wanted.some((key) => options[key] !== undefined) ? options : { ...options, ...defaults };
    return new (intl().DateTimeFormat)(locale, given).format(value);
  };
  const DATE = { year: 'numeric', month: 'numeric', day: 'numeric' };
  const TIME = { hour: 'numeric', minute: '2-digit', second: '2-digit' };
  localized(NativeDate.prototype, 'toLocaleString', local({ ...DATE, ...TIME }));
  localized(NativeDate.prototype, 'toLocaleDateString', local(DATE));
  localized(NativeDate.prototype, 'toLocaleTimeString', local(TIME));
  for (const name of ['toString', 'toTimeString']) {
    const plain = NativeDate.prototype[name];
    localized(NativeDate.prototype, name, (value) => {
      const written = apply(plain, value, []);
      return written.endsWith('GMT+0000') ? `${written} (Coordinated Universal Time)` : written;
    });
  }
  localized(String.prototype, 'localeCompare', (value, other, locale, options) => new (intl().Collator)(locale, options).compare(String(value), String(other)));

  const join = Array.prototype.join;
  const tools = {
    begin() { fields = undefined; all = undefined; },
    readDates,
    weigh,
    kind(value) {
      if (value instanceof NativeDate) return 'date';
      if (parts.luxon === undefined) return 'object';
      const { DateTime, Duration, Interval } = parts.luxon;
      if (DateTime.isDateTime(value)) return 'dateTime';
      if (Duration.isDuration(value)) return 'duration';
      return Interval.isInterval(value) ? 'interval' : 'object';
    },
    text(value) { return value || value === 0 || value === false ? apply(join, [value], ['']) : ''; },
    run(call, isEach) { tools.begin(); return part('code').run(call, isEach); },
    call(name, argument) { tools.begin(); return part('code')[name](argument); },
  };

  // The ways out: constructors make code of text, prototypes reach other scripts.
  for (const name of ['eval', 'Function', 'Proxy', 'Reflect', 'Promise', 'AsyncFunction', 'WeakRef',
    'FinalizationRegistry', 'SharedArrayBuffer', 'Atomics', 'queueMicrotask', 'escape', 'unescape',
    'performance', 'DOMException', 'Iterator', 'WebAssembly', 'gc', 'navigator', 'console']) {
    deleteProperty(world, name);
  }
  for (const name of ['getPrototypeOf', 'setPrototypeOf', 'defineProperty', 'defineProperties',
    'getOwnPropertyDescriptor', 'getOwnPropertyDescriptors']) {
    deleteProperty(Object, name);
  }
  deleteProperty(Error, 'captureStackTrace');
  deleteProperty(Error, 'prepareStackTrace');
  for (const name of ['__proto__', '__defineGetter__', '__defineSetter__', '__lookupGetter__', '__lookupSetter__']) {
    deleteProperty(Object.prototype, name);
  }
  // What n8n denies is an empty object there.
  for (const name of ['document', 'global', 'window', 'Window', 'globalThis', 'self', 'alert', 'prompt', 'confirm', 'eval',
    'uneval', 'setTimeout', 'setInterval', 'setImmediate', 'clearImmediate', 'clearTimeout', 'clearInterval', 'queueMicrotask',
    'Function', 'require', 'module', 'Buffer', 'fetch', 'XMLHttpRequest', 'Promise', 'Generator', 'GeneratorFunction',
    'AsyncFunction', 'AsyncGenerator', 'AsyncGeneratorFunction', 'WebAssembly', 'Reflect', 'Proxy', 'escape', 'unescape', 'process']) {
    if (name !== 'globalThis') hide(world, name, {});
  }
  const seen = new Set([json, globals.$node, globals.$vars, globals.$env]);
  // Two thousand objects for each engine: no call that could be spared, and none of the guarded ones.
  function harden(objects) {
    const next = [];
    let count = 0;
    const add = (value) => {
      if (value === null || (typeof value !== 'object' && typeof value !== 'function') || seen.has(value)) return;
      seen.add(value);
      next[count] = value;
      count += 1;
    };
    for (let i = 0; i < objects.length; i += 1) add(objects[i]);
    while (count > 0) {
      count -= 1;
      const object = next[count];
      deleteProperty(object, 'constructor');
      if (object !== world) freeze(object);
      const keys = ownKeys(object);
      const isFunction = typeof object === 'function';
      for (let i = 0; i < keys.length; i += 1) {
        const key = keys[i];
        if (isFunction && ((key === 'name' && typeof object.name === 'string') || (key === 'length' && typeof object.length === 'number'))) continue;
        const found = getOwnPropertyDescriptor(object, key);
        if (found.get === undefined && found.set === undefined) {
          add(found.value);
        } else {
          add(found.get);
          add(found.set);
        }
      }
      add(getPrototypeOf(object));
    }
  }
  harden([world, host, async function () {}, function* () {}, async function* () {},
    [][Symbol.iterator](), new Map()[Symbol.iterator](), new Set()[Symbol.iterator](),
    ''[Symbol.iterator](), ''.matchAll(/a/g), (function* () {})(), (async function* () {})(),
    NodeView, OldView, ServerDate, NativeDate, tools]);
  hide(world, 'globalThis', freeze({}));
  freeze(world);
  return tools;
})
