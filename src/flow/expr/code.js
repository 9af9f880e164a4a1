// What the Code node, and nodes that are easier said in JavaScript, stand on.
(function (kit) {
  'use strict';
  const { host, has, fail, apply, luxon, NativeDate, NativePromise, NativeProxy } = kit;
  // What workflows keep from run to run: read once for each engine, told back when it has changed.
  const statics = new Map();
  const touched = new Set();
  const { parse, stringify } = JSON;
  const keep = () => {
    for (const held of touched) {
      const text = stringify(held.value) ?? '{}';
      if (text !== held.text) host.keep(held.key, text);
      held.text = text;
    }
    touched.clear();
  };
  const utf8 = (text) => {
    const bytes = [];
    const escaped = encodeURIComponent(text);
    for (let at = 0; at < escaped.length; at += 1) {
      if (escaped[at] !== '%') { bytes.push(escaped.charCodeAt(at)); continue; }
      bytes.push(parseInt(escaped.slice(at + 1, at + 3), 16));
      at += 2;
    }
    return bytes;
  };
  const text = (bytes) => host.unbase64(host.base64bytes(Array.from(bytes)));
  class Bytes extends Uint8Array {
    toString(encoding = 'utf8') {
      if (encoding === 'base64') return host.base64bytes(Array.from(this));
      if (encoding === 'hex') return Array.from(this, (byte) => byte.toString(16).padStart(2, '0')).join('');
      return text(this);
    }
    toJSON() { return { type: 'Buffer', data: Array.from(this) }; }
  }
  const Buffer = {
    from(value, encoding = 'utf8') {
      if (typeof value !== 'string') return Bytes.from(value);
      if (encoding === 'base64' || encoding === 'base64url') return Bytes.from(host.bytes(value));
      if (encoding === 'hex') return Bytes.from((value.match(/../g) ?? []).map((pair) => parseInt(pair, 16)));
      return Bytes.from(utf8(value));
    },
    alloc: (size) => new Bytes(size),
    concat: (list) => Bytes.from(list.flatMap((one) => Array.from(one))),
    byteLength: (value) => utf8(value).length,
    isBuffer: (value) => value instanceof Bytes,
  };
  // Waiting for the clock would hold every other run: what is to come later comes at once.
  const setTimeout = (call, _, ...args) => { NativePromise.resolve().then(() => call(...args)); return 0; };
  const nothing = () => undefined;
  const console = { log: nothing, info: nothing, warn: nothing, error: nothing, debug: nothing };
  const require = (name) => { throw new Error(`Cannot find module '${name}': modules are not available`); };
  // What would ask another server has to wait, and a script cannot.
  const helpers = new NativeProxy({}, { get: (_, name) => () => {
    throw new Error(`this.helpers.${String(name)}() is not available: let a node before this one do it, such as HTTP Request`);
  } });
  const staticData = (kind) => {
    const key = kind === 'node' ? `node:${host.name()}` : 'global';
    const own = `${host.owner()}/${key}`;
    if (!statics.has(own)) {
      const text = host.kept(key) ?? '{}';
      statics.set(own, { key, text, value: parse(text) });
    }
    const held = statics.get(own);
    touched.add(held);
    return held.value;
  };

  const KEYS = ['json', 'binary', 'pairedItem', 'error', 'index'];
  const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);
  const isItem = (value) => KEYS.some((key) => key !== 'index' && key !== 'error' && has(value, key)) || has(value, 'json');
  const checked = (item) => {
    if (!isObject(item)) throw new Error('Code doesn\'t return items properly: each item has to be an object');
    for (const key of Object.keys(item)) {
      if (!KEYS.includes(key)) throw new Error(`Unknown top-level item key: ${key}. Put it beneath \`json\``);
    }
    if (item.json !== undefined && !isObject(item.json)) throw new Error("A 'json' property isn't an object");
    return item;
  };
  const normal = (result) => {
    if (result === undefined || result === null) return [];
    if (typeof result !== 'object') throw new Error('Code doesn\'t return items properly: return a list of objects, one for each item');
    const list = Array.isArray(result) ? result : [result];
    for (const one of list) {
      if (!isObject(one)) throw new Error('Code doesn\'t return items properly: each item has to be an object');
    }
    if (list.some(isItem)) return list.map(checked);
    return list.map((json) => ({ json }));
  };
  const single = (result) => {
    if (result === null || result === undefined) return null;
    if (!isObject(result)) throw new Error("Code doesn't return a single object: return one object for each item");
    return isItem(result) ? checked(result) : { json: result };
  };

  const run = (call, isEach) => {
    const box = {};
    touched.clear();
    const given = kit.input();
    const item = isEach ? given[host.index()] : undefined;
    const finish = (result) => { keep(); box.value = isEach ? single(result) : normal(result); box.state = 'done'; };
    const refuse = (error) => {
      try { keep(); } catch { touched.clear(); }
      const isError = error !== null && typeof error === 'object' && 'message' in error;
      const line = isError && /author:(\d+)/.exec(String(error.stack))?.[1];
      const message = isError ? String(error.message) : String(error);
      box.message = line > 1 ? `${message} [line ${line - 1}]` : message;
      box.state = 'failed';
    };
    apply(call, { helpers }, [given, item, console, NativePromise, setTimeout, setTimeout, nothing, Buffer,
      (plain) => Buffer.from(plain).toString('base64'), (coded) => Buffer.from(coded, 'base64').toString(), require, staticData])
      .then(finish).then(undefined, refuse);
    return box;
  };

  // Date & Time, version 2. Numbers of fewer than twelve digits are seconds.
  const read = (value, zone) => {
    const { DateTime } = luxon();
    const options = zone === undefined ? {} : { zone };
    if (DateTime.isDateTime(value)) return value;
    const digits = typeof value === 'number' || /^-?\d+$/.test(String(value).trim());
    if (digits && String(value).trim() !== '') {
      const number = Number(value);
      return String(Math.trunc(Math.abs(number))).length < 12 ? DateTime.fromSeconds(number, options) : DateTime.fromMillis(number, options);
    }
    const trimmed = String(value ?? '').trim();
    for (const name of ['fromISO', 'fromRFC2822', 'fromHTTP', 'fromSQL']) {
      const found = DateTime[name](trimmed, options);
      if (found.isValid) return found;
    }
    const found = DateTime.fromMillis(NativeDate.parse(trimmed), options);
    if (!found.isValid) fail(`'${trimmed}' is no date`);
    return found;
  };
  const units = (unit) => (unit.endsWith('s') ? unit : `${unit}s`);
  const number = (value) => {
    const found = Number(value);
    if (Number.isNaN(found)) fail(`'${value}' is no number`);
    return found;
  };
  const dates = {
    getCurrentDate(p) {
      const zone = p.options?.timezone || undefined;
      const now = zone === undefined ? luxon().DateTime.now() : luxon().DateTime.now().setZone(zone);
      return p.includeTime === false ? now.startOf('day').toISO() : now.toISO();
    },
    addToDate: (p) => read(p.magnitude).plus({ [units(p.timeUnit ?? 'days')]: number(p.duration ?? 0) }).toISO(),
    subtractFromDate: (p) => read(p.magnitude).minus({ [units(p.timeUnit ?? 'days')]: number(p.duration ?? 0) }).toISO(),
    formatDate(p) {
      const { DateTime } = luxon();
      const format = p.format === 'custom' ? p.customFormat : p.format ?? 'MM/dd/yyyy';
      const from = p.options?.fromFormat;
      let date = from ? DateTime.fromFormat(String(p.date), from) : read(p.date, p.options?.timezone === true ? undefined : 'UTC');
      if (p.options?.timezone === true && host.zone() !== undefined) date = date.setZone(host.zone());
      if (!date.isValid) fail(`'${p.date}' is no date of the format '${from}'`);
      if (format === 'X') return date.toUnixInteger();
      if (format === 'x') return date.toMillis();
      return date.toFormat(format);
    },
    roundDate(p) {
      const date = read(p.date);
      if (p.mode === 'roundUp') return date.plus({ [p.to ?? 'month']: 1 }).startOf(p.to ?? 'month').toISO();
      return date.startOf(p.toNearest ?? 'month').toISO();
    },
    getTimeBetweenDates(p) {
      const wanted = (p.units ?? ['day']).map(units);
      const duration = read(p.endDate).diff(read(p.startDate), wanted);
      return p.options?.isoString ? duration.toISO() : duration.toObject();
    },
    extractDate(p) {
      const date = read(p.date);
      const part = p.part ?? 'month';
      return part === 'week' ? date.weekNumber : date.get(part);
    },
  };
  return {
    run,
    date: (p) => {
      const made = dates[p.operation ?? 'getCurrentDate'];
      if (made === undefined) fail(`the operation '${p.operation}' is unknown`);
      return made(p);
    },
    // Milliseconds of what a condition calls a date.
    moment: (p) => {
      try {
        return read(typeof p.value === 'number' ? luxon().DateTime.fromMillis(p.value) : p.value).toMillis();
      } catch {
        return null;
      }
    },
  };
})
