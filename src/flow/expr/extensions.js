// n8n's methods on plain values: what `extend(value, 'method', arguments)` calls. Loaded when the
// first expression that uses one is evaluated.
(function (kit) {
  'use strict';
  const { host, has, fail, isEmpty, luxon, isDateTime, NativeDate } = kit;
  const isDate = (value) => value instanceof NativeDate;
  const isMoment = (value) => isDate(value) || isDateTime(value);
  const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);
  const equal = (a, b) => {
    if (a === b || (a !== a && b !== b)) return true;
    if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
    if (isMoment(a) || isMoment(b)) return isMoment(a) && isMoment(b) && +a === +b;
    if (Array.isArray(a) !== Array.isArray(b)) return false;
    const keys = Object.keys(a);
    return keys.length === Object.keys(b).length && keys.every((key) => has(b, key) && equal(a[key], b[key]));
  };
  const numbers = (list, name) => {
    for (const value of list) {
      if (typeof value !== 'number') fail(`${name}() works on numbers only, and '${String(value)}' is none`);
    }
    return list;
  };
  const lists = (value, name) => {
    if (!Array.isArray(value)) fail(`${name}() needs an array`);
    return value;
  };
  const without = (list) => {
    const kept = [];
    for (const value of list) if (!kept.some((other) => equal(other, value))) kept.push(value);
    return kept;
  };

  const arrays = {
    first: (list) => list[0],
    last: (list) => list[list.length - 1],
    isEmpty: (list) => list.length === 0,
    isNotEmpty: (list) => list.length > 0,
    sum: (list) => numbers(list, 'sum').reduce((total, value) => total + value, 0),
    min: (list) => Math.min(...numbers(list, 'min')),
    max: (list) => Math.max(...numbers(list, 'max')),
    average: (list) => (list.length === 0 ? 0 : numbers(list, 'average').reduce((total, value) => total + value, 0) / list.length),
    unique: (list, ...keys) => arrays.removeDuplicates(list, ...keys),
    removeDuplicates(list, ...keys) {
      keys = keys.flat();
      if (keys.length === 0) return without(list);
      const seen = [];
      return list.filter((value) => {
        const part = isObject(value) ? keys.map((key) => value[key]) : value;
        if (seen.some((other) => equal(other, part))) return false;
        seen.push(part);
        return true;
      });
    },
    pluck(list, ...keys) {
      keys = keys.flat();
      if (keys.length === 0) return list;
      const plucked = [];
      for (const value of list) {
        if (!isObject(value)) continue;
        const found = keys.filter((key) => has(value, key)).map((key) => value[key]);
        if (found.length > 0) plucked.push(keys.length === 1 ? found[0] : found);
      }
      return plucked;
    },
    randomItem: (list) => (list.length === 0 ? undefined : list[Math.floor(Math.random() * list.length)]),
    compact: (list) => list.filter((value) => value !== null && value !== undefined && value !== ''
      && !(isObject(value) && !isMoment(value) && Object.keys(value).length === 0)),
    smartJoin(list, key, value) {
      if (typeof key !== 'string' || typeof value !== 'string') fail('smartJoin() needs the names of two fields');
      const joined = {};
      for (const one of list) if (isObject(one) && has(one, key)) joined[one[key]] = one[value];
      return joined;
    },
    chunk(list, size) {
      if (typeof size !== 'number' || !(size >= 1)) fail('chunk() needs a size from 1 on');
      const chunks = [];
      for (let at = 0; at < list.length; at += Math.trunc(size)) chunks.push(list.slice(at, at + Math.trunc(size)));
      return chunks;
    },
    renameKeys(list, ...names) {
      names = names.flat();
      if (names.length === 0 || names.length % 2 !== 0) fail('renameKeys() needs pairs of old and new names');
      return list.map((value) => {
        if (!isObject(value)) return value;
        const renamed = {};
        for (const key of Object.keys(value)) {
          const at = names.findIndex((name, index) => index % 2 === 0 && name === key);
          renamed[at === -1 ? key : names[at + 1]] = value[key];
        }
        return renamed;
      });
    },
    merge(list, others) {
      if (others === undefined) return Object.assign({}, ...[...list].reverse().filter(isObject));
      lists(others, 'merge');
      const merged = [];
      for (let at = 0; at < Math.max(list.length, others.length); at += 1) {
        if (at >= list.length) merged.push(others[at]);
        else if (at >= others.length) merged.push(list[at]);
        else merged.push(isObject(list[at]) && isObject(others[at]) ? { ...others[at], ...list[at] } : list[at]);
      }
      return merged;
    },
    mergeIntoObject: (list) => Object.assign({}, ...list.filter(isObject)),
    reverse: (list) => [...list].reverse(),
    union: (list, other) => without([...list, ...lists(other, 'union')]),
    difference: (list, other) => without(list.filter((value) => !lists(other, 'difference').some((one) => equal(one, value)))),
    intersection: (list, other) => without(list.filter((value) => lists(other, 'intersection').some((one) => equal(one, value)))),
    append: (list, ...more) => list.concat(more),
    toJsonString: (list) => JSON.stringify(list),
  };

  // Texts.
  const SMALL = new Set(['a', 'an', 'and', 'as', 'at', 'because', 'but', 'by', 'en', 'for', 'if', 'in', 'neither', 'nor',
    'of', 'on', 'only', 'or', 'over', 'per', 'so', 'some', 'than', 'that', 'the', 'to', 'up', 'upon', 'v', 'versus', 'via',
    'vs', 'when', 'with', 'without', 'yet']);
  const LETTERS = { ß: 'ss', ẞ: 'SS', æ: 'ae', Æ: 'AE', œ: 'oe', Œ: 'OE', ø: 'o', Ø: 'O', ł: 'l', Ł: 'L', đ: 'd', Đ: 'D',
    ð: 'd', Ð: 'D', þ: 'th', Þ: 'TH', ı: 'i', ħ: 'h', Ħ: 'H', '‘': "'", '’': "'", '“': '"', '”': '"', '–': '-', '—': '-', '…': '...' };
  const HOST = /^(?=.{1,253}$)(?:[a-z0-9¡-￿](?:[a-z0-9¡-￿-]{0,61}[a-z0-9¡-￿])?\.)+[a-z¡-￿][a-z0-9¡-￿-]{0,61}[a-z0-9¡-￿]$/i;
  const MAIL = /[a-z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+/i;
  const LINK = /https?:\/\/[^\s<>"'`]+/i;
  const CURRENCY = /[$¢£¤¥֏؋฿៛₠-₿﷼﹩＄￠￡￥￦]/g;
  const url = (text) => {
    const parts = /^([a-z][a-z0-9+.-]*):\/\/(?:[^\s/?#@]*@)?([^\s/?#:@]+)(?::(\d{1,5}))?(\/[^\s?#]*)?(\?[^\s#]*)?(#\S*)?$/i.exec(text);
    return parts && { host: parts[2], path: parts[4] || '' };
  };
  const toNumber = (read, what) => (text, ...more) => {
    const value = read(text.replace(CURRENCY, ''), ...more);
    if (Number.isNaN(value)) fail(`'${text}' cannot be converted to ${what}`);
    return value;
  };
  const toInt = toNumber((text, radix = 10) => parseInt(text, radix), 'an integer');
  const toFloat = toNumber((text) => parseFloat(text), 'a number');
  const toDateTime = (text, format) => {
    const { DateTime } = luxon();
    if (typeof format === 'string') return checked(DateTime.fromFormat(text, format), text);
    const trimmed = text.trim();
    if (/^\d{12,}$/.test(trimmed)) return DateTime.fromMillis(Number(trimmed));
    for (const read of ['fromISO', 'fromHTTP', 'fromRFC2822', 'fromSQL']) {
      const found = DateTime[read](trimmed);
      if (found.isValid) return found;
    }
    const parsed = new NativeDate(NativeDate.parse(trimmed));
    return checked(DateTime.fromJSDate(parsed), text);
  };
  const checked = (moment, text) => {
    if (!moment.isValid) fail(`'${text}' cannot be converted to a DateTime`);
    return moment;
  };
  const texts = {
    isEmpty: (text) => text === '',
    isNotEmpty: (text) => text !== '',
    length: (text) => text.length,
    hash(text, kind = 'md5') {
      const hashed = host.hash(String(kind).toLowerCase(), text);
      if (hashed === undefined) fail(`'${kind}' is none of md5, base64, sha1, sha224, sha256, sha384, sha512`);
      return hashed;
    },
    removeTags: (text) => text.replace(/<[^>]*>?/g, ''),
    removeMarkdown: (text) => text
      .replace(/^(?:-\s*?|\*\s*?|_\s*?){3,}\s*$/gm, '').replace(/^([\s\t]*)[-*+]\s+/gm, '$1').replace(/^([\s\t]*)\d+\.\s+/gm, '$1')
      .replace(/\n={2,}/g, '\n').replace(/~{3}.*\n/g, '').replace(/~~/g, '').replace(/`{3}.*\n/g, '').replace(/<[^>]*>/g, '')
      .replace(/^[=-]{2,}\s*$/g, '').replace(/\[\^.+?\](?:: .*?$)?/g, '').replace(/\s{0,2}\[.*?\]: .*?$/g, '')
      .replace(/!\[(.*?)\][[(].*?[\])]/g, '$1').replace(/\[([^\]]*?)\][[(].*?[\])]/g, '$1').replace(/^\s{0,3}>\s?/gm, '')
      .replace(/^(\n)?\s{0,}#{1,6}\s+| {0,}(\n)?\s{0,}#{0,} {0,}(\n)?\s{0,}$/gm, '$1$2$3')
      .replace(/([*_]{1,3})(\S.*?\S{0,1})\1/g, '$2').replace(/(`{3,})(.*?)\1/gm, '$2').replace(/`(.+?)`/g, '$1'),
    toDate(text) {
      const date = new NativeDate(text);
      if (Number.isNaN(+date)) fail(`'${text}' cannot be converted to a date`);
      return /^\d{4}-\d\d-\d\d$/.test(text) ? new NativeDate(`${text}T00:00:00`) : date;
    },
    toDateTime,
    toBoolean: (text) => !['', '0', 'false', 'no'].includes(text.toLowerCase()),
    toNumber: toNumber((text) => (text.trim() === '' ? NaN : Number(text)), 'a number'),
    toInt,
    toWholeNumber: toInt,
    toFloat,
    toDecimalNumber: toFloat,
    toTitleCase: (text) => text.replace(/\S+/g, (word, at) => {
      const plain = word.toLowerCase().replace(/[^a-z]/g, '');
      if (/[A-Z]/.test(word.slice(1)) || (at > 0 && at + word.length < text.trimEnd().length && SMALL.has(plain))) return word;
      return word.replace(/\p{L}/u, (letter) => letter.toUpperCase());
    }),
    toSentenceCase: (text) => text.toLowerCase().replace(/(^\s*|[.!?]\s+)(\p{L})/gu, (found, before, letter) => before + letter.toUpperCase()),
    toSnakeCase: (text) => text.toLowerCase().replace(/[ \-]/g, '_').replace(/[^\w_]/g, ''),
    urlEncode: (text, whole = false) => (whole ? encodeURI(text) : encodeURIComponent(text)),
    urlDecode: (text, whole = false) => (whole ? decodeURI(text) : decodeURIComponent(text)),
    quote: (text, mark = '"') => mark + text.replaceAll('\\', '\\\\').replaceAll(mark, `\\${mark}`) + mark,
    replaceSpecialChars: (text) => text.normalize('NFD').replace(/[̀-ͯ]/g, '').replace(/[^\x00-\x7f]/g, (letter) => LETTERS[letter] ?? letter),
    isDomain: (text) => HOST.test(text),
    isEmail: (text) => MAIL.exec(text)?.[0] === text,
    isNumeric: (text) => text.trim() !== '' && !Number.isNaN(Number(text)) && !Number.isNaN(parseFloat(text)),
    isUrl(text) {
      const parts = url(text);
      return parts !== null && (HOST.test(parts.host) || /^\[?[\da-f.:]+\]?$/i.test(parts.host) || parts.host === 'localhost');
    },
    extractEmail: (text) => MAIL.exec(text)?.[0],
    extractDomain(text) {
      const mail = MAIL.exec(text)?.[0];
      if (mail !== undefined) return mail.slice(mail.indexOf('@') + 1);
      const link = LINK.exec(text)?.[0];
      const name = link === undefined ? undefined : url(link.replace(/[.,;:!?)]+$/, ''))?.host;
      if (name !== undefined) return name;
      return text.split(/[\s/]+/).find((word) => HOST.test(word));
    },
    extractUrl: (text) => LINK.exec(text)?.[0].replace(/[.,;:!?)]+$/, ''),
    extractUrlPath: (text) => url(text)?.path || undefined,
    parseJson(text) {
      try {
        return JSON.parse(text);
      } catch {
        if (text.includes("'")) fail("Parsing failed. Check you're using double quotes");
        return undefined;
      }
    },
    base64Encode: (text) => host.base64(text),
    base64Decode: (text) => host.unbase64(text),
    toJsonString: (text) => JSON.stringify(text),
  };

  const whole = (value, name) => {
    if (!Number.isInteger(value)) fail(`${name}() works on integers only`);
    return value;
  };
  const numeric = {
    abs: (value) => Math.abs(value),
    ceil: (value) => Math.ceil(value),
    floor: (value) => Math.floor(value),
    round: (value, digits = 0) => +value.toFixed(digits),
    format: (value, locale = 'en-US', options) => kit.formatNumber(value, locale, options),
    isInteger: (value) => Number.isInteger(value),
    isEven: (value) => whole(value, 'isEven') % 2 === 0,
    isOdd: (value) => Math.abs(whole(value, 'isOdd') % 2) === 1,
    isEmpty: () => false,
    isNotEmpty: () => true,
    toBoolean: (value) => value !== 0,
    toInt: (value) => +value.toFixed(0),
    toFloat: (value) => value,
    toNumber: (value) => value,
    toDateTime(value, unit = 'ms') {
      const { DateTime } = luxon();
      switch (unit) {
        case 'ms': return DateTime.fromMillis(value);
        case 's': return DateTime.fromSeconds(value);
        case 'us': return DateTime.fromMillis(value / 1000);
        case 'excel': return DateTime.fromMillis((value - 25569) * 864e5, { zone: 'UTC' });
        default: return fail(`'${unit}' is none of ms, s, us, excel`);
      }
    },
  };
  const booleans = {
    toBoolean: (value) => value,
    toInt: (value) => +value,
    toFloat: (value) => +value,
    toNumber: (value) => +value,
    toDateTime: () => undefined,
    isEmpty: () => false,
    isNotEmpty: () => true,
  };

  const containing = (value, keeps) => (object) => {
    if (typeof value !== 'string' || value === '') fail('a text that is not empty is needed');
    const kept = {};
    for (const key of Object.keys(object)) {
      const contains = typeof object[key] === 'string' && object[key].includes(value);
      if (contains === keeps) kept[key] = object[key];
    }
    return kept;
  };
  const objects = {
    isEmpty: (object) => Object.keys(object).length === 0,
    isNotEmpty: (object) => Object.keys(object).length > 0,
    hasField: (object, key) => has(object, key),
    removeField(object, key) {
      const { [key]: removed, ...kept } = object;
      return kept;
    },
    removeFieldsContaining: (object, value) => containing(value, false)(object),
    keepFieldsContaining: (object, value) => containing(value, true)(object),
    compact(object) {
      const kept = {};
      for (const key of Object.keys(object)) {
        const value = object[key];
        if (value === null || value === undefined || value === '' || value === 'nil') continue;
        if (isObject(value) && !isMoment(value)) {
          if (Object.keys(value).length > 0) kept[key] = objects.compact(value);
        } else kept[key] = value;
      }
      return kept;
    },
    merge: (object, other) => ({ ...other, ...object }),
    urlEncode: (object) => Object.keys(object)
      .map((key) => `${form(key)}=${form(String(object[key]))}`).join('&'),
    keys: (object) => Object.keys(object),
    values: (object) => Object.values(object),
    toJsonString: (object) => JSON.stringify(object),
  };
  const form = (text) => encodeURIComponent(text).replace(/%20/g, '+').replace(/[!'()~]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);

  // Dates: what is given as a Date stays one.
  const UNITS = { second: 1, minute: 1, hour: 1, day: 1, week: 1, month: 1, quarter: 1, year: 1, millisecond: 1 };
  const unit = (name) => {
    const singular = String(name).replace(/s$/, '');
    if (!has(UNITS, singular)) fail(`'${name}' is no unit of time`);
    return `${singular}s`;
  };
  const moment = (value) => {
    if (isDateTime(value)) return value;
    if (isDate(value)) return luxon().DateTime.fromJSDate(value);
    if (typeof value === 'number') return luxon().DateTime.fromMillis(value);
    if (typeof value === 'string') return toDateTime(value);
    return fail(`'${String(value)}' is no date`);
  };
  const alike = (value, made) => (isDateTime(value) ? made : made.toJSDate());
  const span = (amount, name = 'milliseconds') => (typeof amount === 'object' ? amount : { [unit(name)]: Number(amount) });
  const difference = (one, other, units = 'days') => {
    const list = (Array.isArray(units) ? units : [units]).map(unit);
    const found = moment(one).diff(moment(other), list);
    return Array.isArray(units) ? found.toObject() : found.as(list[0]);
  };
  const dates = {
    beginningOf: (value, name = 'week') => alike(value, moment(value).startOf(unit(name).slice(0, -1))),
    endOfMonth: (value) => alike(value, moment(value).endOf('month')),
    extract(value, part = 'week') {
      const at = moment(value);
      if (part === 'yearDayNumber') return at.ordinal;
      const name = { week: 'weekNumber', weeks: 'weekNumber' }[part] ?? part;
      const singular = has(UNITS, name.replace(/s$/, '')) ? name.replace(/s$/, '') : name;
      return at.get(singular);
    },
    isBetween(value, from, to) {
      if (from === undefined || to === undefined) fail('isBetween() needs two dates');
      const [at, one, other] = [+moment(value), +moment(from), +moment(to)];
      return one > other ? other < at && at < one : one < at && at < other;
    },
    isDst: (value) => moment(value).isInDST,
    isInLast(value, amount = 0, name = 'minutes') {
      const now = luxon().DateTime.now();
      return now.minus({ [unit(name)]: amount }) <= moment(value) && moment(value) <= now;
    },
    isWeekend: (value) => moment(value).weekday > 5,
    minus: (value, amount, name) => alike(value, moment(value).minus(kit.isDuration(amount) ? amount : span(amount, name))),
    plus: (value, amount, name) => alike(value, moment(value).plus(kit.isDuration(amount) ? amount : span(amount, name))),
    format: (value, form, options) => moment(value).toFormat(form, options),
    toDateTime: (value) => moment(value),
    diffTo: (value, other, units) => difference(value, other, units),
    diffToNow: (value, units) => difference(value, luxon().DateTime.now(), units),
    toInt: (value) => +value,
    toFloat: (value) => +value,
    toBoolean: () => fail('toBoolean() cannot be used on a date'),
    isEmpty: () => false,
    isNotEmpty: () => true,
  };
  const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
  const tableOf = (value, name) => {
    if (Array.isArray(value)) return arrays;
    if (typeof value === 'string') {
      return ISO.test(value) && name !== 'toDate' && name !== 'toDateTime' && has(dates, name) ? dates : texts;
    }
    if (typeof value === 'number') return numeric;
    if (isMoment(value)) return dates;
    if (typeof value === 'boolean') return booleans;
    if (value instanceof Map || value instanceof Set) return {};
    return typeof value === 'object' && value !== null ? objects : {};
  };
  const generic = { isEmpty: (value) => isEmpty(value), isNotEmpty: (value) => !isEmpty(value) };

  return {
    extend(value, name, args) {
      const table = tableOf(value, name);
      if (has(table, name)) {
        const subject = table === dates && typeof value === 'string' ? new NativeDate(value) : value;
        return table[name](subject, ...args);
      }
      if (value !== null && value !== undefined) {
        const own = value[name];
        if (typeof own === 'function') return kit.apply(own, value, args);
      }
      if (has(generic, name)) return generic[name](value);
      if (value === null || value === undefined) return fail(`${name}() can't be used on ${String(value)}`);
      return fail(`${name}() cannot be called on a value of the type ${Array.isArray(value) ? 'array' : typeof value}`);
    },
    numberList(from, to) {
      const step = from <= to ? 1 : -1;
      if (!(Math.abs(to - from) < 1e6)) fail('numberList() gives a million numbers at most');
      return Array.from({ length: Math.abs(to - from) + 1 }, (_, at) => from + at * step);
    },
    zip(keys, values) {
      if (keys.length !== values.length) fail('zip() needs lists of equal length');
      return Object.fromEntries(keys.map((key, at) => [key, values[at]]));
    },
    average: (values) => arrays.average(values),
  };
})
