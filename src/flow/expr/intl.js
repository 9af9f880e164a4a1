// Intl for English, with the separators and orders of some other languages: QuickJS has none.
(function (kit) {
  'use strict';
  const { host, NativeDate } = kit;
  // Decimal sign and group sign of languages that differ from English.
  const SIGNS = { de: ',.', nl: ',.', es: ',.', it: ',.', pt: ',.', id: ',.', tr: ',.', da: ',.', el: ',.', ro: ',.', fr: ',\u202f',
    ru: ',\u00a0', pl: ',\u00a0', cs: ',\u00a0', uk: ',\u00a0', sv: ',\u00a0', nb: ',\u00a0', no: ',\u00a0', fi: ',\u00a0', hu: ',\u00a0', bg: ',\u00a0', sk: ',\u00a0',
    'de-CH': '.’', 'de-AT': ',\u00a0', 'pt-PT': ',\u00a0' };
  const language = (locale) => String(locale).split('-')[0];
  const localeOf = (locales) => {
    const locale = Array.isArray(locales) ? locales[0] : locales;
    if (locale === undefined) return 'en-US';
    const text = String(locale);
    if (!/^[a-z]{2,3}(?:-[A-Za-z0-9]{1,8})*$/i.test(text)) throw new RangeError('Incorrect locale information provided');
    return text.split('-u-')[0];
  };
  const CURRENCIES = { USD: '$', EUR: '€', GBP: '£', JPY: '¥', INR: '₹', CNY: 'CN¥', KRW: '₩', ILS: '₪', VND: '₫', BRL: 'R$', CAD: 'CA$', AUD: 'A$', NZD: 'NZ$', MXN: 'MX$', HKD: 'HK$', TWD: 'NT$', PHP: '₱' };
  const CURRENCY_NAMES = { USD: 'US dollars', EUR: 'euros', GBP: 'British pounds', JPY: 'Japanese yen', CHF: 'Swiss francs' };
  const UNIT_SHORT = { year: 'yr', month: 'mth', week: 'wk', day: 'day', hour: 'hr', minute: 'min', second: 'sec', millisecond: 'ms', quarter: 'qtr',
    kilometer: 'km', meter: 'm', centimeter: 'cm', mile: 'mi', kilogram: 'kg', gram: 'g', liter: 'L', celsius: '°C', percent: '%', byte: 'byte', kilobyte: 'kB', megabyte: 'MB', gigabyte: 'GB' };
  const UNIT_NARROW = { year: 'y', month: 'm', week: 'w', day: 'd', hour: 'h', minute: 'm', second: 's', millisecond: 'ms', quarter: 'q' };
  const grouped = (digits, sign) => digits.replace(/\B(?=(\d{3})+$)/g, sign);
  // Rounds half away from zero in decimal digits, as people write them.
  const fixed = (value, digits) => {
    if (value >= 1e21) return String(value);
    const plain = value.toFixed(Math.min(digits, 100));
    const shifted = Number(`${value}e${digits}`);
    if (Number.isFinite(shifted) && Math.abs(shifted) < 1e15) {
      const rounded = Math.round(shifted);
      return (rounded / 10 ** digits).toFixed(digits);
    }
    return plain;
  };
  class NumberFormat {
    #locale; #options;
    constructor(locales, options = {}) {
      this.#locale = localeOf(locales);
      const { style = 'decimal', currency, notation = 'standard' } = options;
      if (style === 'currency' && currency === undefined) throw new TypeError('Currency code is required with currency style.');
      const money = style === 'currency' ? (['JPY', 'KRW', 'VND'].includes(String(currency).toUpperCase()) ? 0 : 2) : 0;
      const compact = notation === 'compact';
      let least = options.minimumFractionDigits;
      let most = options.maximumFractionDigits;
      if (least !== undefined && !(least >= 0 && least <= 100)) throw new RangeError('minimumFractionDigits value is out of range.');
      if (most !== undefined && !(most >= 0 && most <= 100)) throw new RangeError('maximumFractionDigits value is out of range.');
      if (least === undefined) least = Math.min(style === 'currency' && !compact ? money : 0, most ?? 100);
      if (most === undefined) most = Math.max(least, style === 'currency' ? money : style === 'percent' || compact ? 0 : 3);
      if (least > most) throw new RangeError('maximumFractionDigits value is out of range.');
      this.#options = { ...options, style, notation, minimumFractionDigits: least, maximumFractionDigits: most,
        isRounded: compact && options.maximumFractionDigits === undefined && options.minimumFractionDigits === undefined };
    }
    resolvedOptions() {
      const { isRounded, ...options } = this.#options;
      return { locale: this.#locale, numberingSystem: 'latn', ...options };
    }
    #digits(value) {
      const { minimumFractionDigits: least, maximumFractionDigits: most, minimumIntegerDigits: whole = 1,
        minimumSignificantDigits: leastSignificant, maximumSignificantDigits: mostSignificant, useGrouping = true } = this.#options;
      const signs = SIGNS[this.#locale] ?? SIGNS[language(this.#locale)] ?? '.,';
      let text;
      if (mostSignificant !== undefined || leastSignificant !== undefined) {
        text = value === 0 ? '0' : Number(value.toPrecision(Math.min(mostSignificant ?? 21, 100))).toString();
        if (text.includes('e')) text = Number(text).toFixed(0);
        const count = text.replace(/^0\.0*|\./g, '').length;
        if (leastSignificant > count) text += (text.includes('.') ? '' : '.') + '0'.repeat(leastSignificant - count);
      } else {
        const most2 = this.#options.isRounded ? (value !== 0 && value < 100 && fixed(value, 0).length < 2 ? 1 : 0) : most;
        text = fixed(value, most2);
        if (text.includes('.')) {
          let [head, tail] = text.split('.');
          while (tail.length > least && tail.endsWith('0')) tail = tail.slice(0, -1);
          text = tail === '' ? head : `${head}.${tail}`;
        }
      }
      let [head, tail] = text.split('.');
      head = head.padStart(whole, '0');
      const isShort = head.length < 5 && ['es', 'pl', 'pt-PT'].some((tag) => this.#locale === tag || language(this.#locale) === tag);
      if (useGrouping !== false && useGrouping !== 'false' && !isShort) head = grouped(head, signs[1]);
      return tail === undefined ? head : `${head}${signs[0]}${tail}`;
    }
    format = (given) => {
      const { style, currency, currencyDisplay = 'symbol', notation, unit, unitDisplay = 'short', signDisplay = 'auto', compactDisplay = 'short' } = this.#options;
      let value = typeof given === 'bigint' ? Number(given) : Number(given);
      const isNegative = value < 0 || Object.is(value, -0);
      let text;
      if (Number.isNaN(value)) text = 'NaN';
      else if (!Number.isFinite(value)) text = '∞';
      else {
        value = Math.abs(value);
        if (style === 'percent') value *= 100;
        let suffix = '';
        if (notation === 'compact') {
          const scale = value >= 999.5e9 ? 4 : value >= 999.5e6 ? 3 : value >= 999.5e3 ? 2 : value >= 999.5 ? 1 : 0;
          value /= 1000 ** scale;
          suffix = compactDisplay === 'long' ? ['', ' thousand', ' million', ' billion', ' trillion'][scale] : ['', 'K', 'M', 'B', 'T'][scale];
        }
        text = this.#digits(value) + suffix;
      }
      const isEnglish = language(this.#locale) === 'en' || !has(SIGNS, language(this.#locale));
      if (style === 'percent') text += isEnglish ? '%' : '\u00a0%';
      if (style === 'currency') {
        const code = String(currency).toUpperCase();
        const symbol = currencyDisplay === 'code' ? `${code}\u00a0` : CURRENCIES[code] ?? `${code}\u00a0`;
        if (currencyDisplay === 'name') text = `${text} ${CURRENCY_NAMES[code] ?? code}`;
        else text = isEnglish ? symbol + text : `${text}\u00a0${symbol.trim()}`;
      }
      if (style === 'unit') {
        const plural = text === '1' ? unit : `${unit}s`;
        if (unitDisplay === 'long') text = `${text} ${plural}`;
        else if (unitDisplay === 'narrow') text = `${text}${UNIT_NARROW[unit] ?? UNIT_SHORT[unit] ?? unit}`;
        else {
          const short = UNIT_SHORT[unit] ?? unit;
          const isCounted = ['yr', 'mth', 'wk', 'day', 'qtr'].includes(short) && text !== '1';
          text = unit === 'celsius' || unit === 'percent' ? text + short : `${text} ${short}${isCounted ? 's' : ''}`;
        }
      }
      if (isNegative && signDisplay !== 'never' && !/^\D*0(?:[.,]0*)?\D*$/.test(text)) return `-${text}`;
      if (isNegative && Object.is(Number(given), -0) && signDisplay === 'auto') return `-${text}`;
      if (!isNegative && (signDisplay === 'always' || (signDisplay === 'exceptZero' && value !== 0))) return `+${text}`;
      return text;
    };
    formatToParts(value) { return [{ type: 'literal', value: this.format(value) }]; }
    static supportedLocalesOf(locales) { return [].concat(locales ?? []); }
  }

  const MONTHS = ['January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October', 'November', 'December'];
  const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
  const STYLES = {
    date: { full: { weekday: 'long', year: 'numeric', month: 'long', day: 'numeric' }, long: { year: 'numeric', month: 'long', day: 'numeric' },
      medium: { year: 'numeric', month: 'short', day: 'numeric' }, short: { year: '2-digit', month: 'numeric', day: 'numeric' } },
    time: { full: { hour: 'numeric', minute: '2-digit', second: '2-digit', timeZoneName: 'long' }, long: { hour: 'numeric', minute: '2-digit', second: '2-digit', timeZoneName: 'short' },
      medium: { hour: 'numeric', minute: '2-digit', second: '2-digit' }, short: { hour: 'numeric', minute: '2-digit' } },
  };
  const has = (object, key) => Object.hasOwn(object, key);
  const two = (value) => String(value).padStart(2, '0');
  class DateTimeFormat {
    #locale; #options; #zone; #cycle;
    constructor(locales, options = {}) {
      this.#locale = localeOf(locales);
      options = { ...options };
      this.#zone = options.timeZone === undefined ? kit.zone() : String(options.timeZone);
      if (host.offset(this.#zone, 0) === undefined) throw new RangeError(`Invalid time zone specified: ${this.#zone}`);
      if (options.dateStyle !== undefined || options.timeStyle !== undefined) {
        this.isStyled = true;
        options = { ...options, ...STYLES.date[options.dateStyle], ...STYLES.time[options.timeStyle] };
      }
      const fields = ['weekday', 'year', 'month', 'day', 'hour', 'minute', 'second', 'fractionalSecondDigits', 'dayPeriod', 'era'];
      if (!fields.some((field) => options[field] !== undefined)) options = { ...options, year: 'numeric', month: 'numeric', day: 'numeric' };
      const isTwelve = /^en(?!-GB|-IE)/.test(this.#locale) || !/-|^[a-z]{2}$/.test(this.#locale);
      this.#cycle = options.hour12 !== undefined ? (options.hour12 ? 'h12' : 'h23') : options.hourCycle ?? (isTwelve ? 'h12' : 'h23');
      if (options.hour12 === false && /^en(?!-GB)/.test(this.#locale) && options.hourCycle === undefined) this.#cycle = 'h24';
      this.#options = options;
    }
    resolvedOptions() {
      const { hour, hour12, dateStyle, timeStyle, ...options } = this.#options;
      const cycle = hour === undefined ? {} : { hour, hourCycle: this.#cycle === 'h24' ? 'h23' : this.#cycle, hour12: this.#cycle === 'h12' };
      return { locale: this.#locale, calendar: 'gregory', numberingSystem: 'latn', ...options, timeZone: this.#zone, ...cycle };
    }
    #fields(given) {
      const ms = given === undefined ? kit.now() : Number(given);
      if (!Number.isFinite(ms)) throw new RangeError('Invalid time value');
      const offset = host.offset(this.#zone, ms);
      const local = new NativeDate(ms + offset * 6e4);
      return { ms, offset, year: local.getUTCFullYear(), month: local.getUTCMonth(), day: local.getUTCDate(), weekday: local.getUTCDay(),
        hour: local.getUTCHours(), minute: local.getUTCMinutes(), second: local.getUTCSeconds(), fraction: local.getUTCMilliseconds() };
    }
    formatToParts = (given) => {
      const o = this.#options;
      const at = this.#fields(given);
      const parts = [];
      const put = (type, value) => parts.push({ type, value: String(value) });
      const gap = (value) => { if (parts.length > 0) put('literal', value); };
      const year = () => put('year', o.year === '2-digit' ? two(Math.abs(at.year) % 100) : at.year <= 0 && o.era ? 1 - at.year : at.year);
      const day = () => put('day', o.day === '2-digit' ? two(at.day) : at.day);
      const isNamed = ['long', 'short', 'narrow'].includes(o.month);
      const month = () => {
        if (o.month === 'long') put('month', MONTHS[at.month]);
        else if (o.month === 'short') put('month', this.#locale === 'en-GB' && at.month === 8 ? 'Sept' : MONTHS[at.month].slice(0, 3));
        else if (o.month === 'narrow') put('month', MONTHS[at.month][0]);
        else put('month', o.month === '2-digit' ? two(at.month + 1) : at.month + 1);
      };
      if (o.weekday !== undefined) {
        put('weekday', o.weekday === 'long' ? DAYS[at.weekday] : o.weekday === 'short' ? DAYS[at.weekday].slice(0, 3) : DAYS[at.weekday][0]);
      }
      const dated = [o.month && 'month', o.day && 'day', o.year && 'year'].filter(Boolean);
      const write = { month, day, year };
      if (dated.length > 0) {
        const tag = language(this.#locale);
        const isAmerican = /^en(?:-US|-CA)?$/.test(this.#locale) || !has(SIGNS, tag) && tag !== 'en' && tag !== 'ja' && tag !== 'zh' && tag !== 'ko';
        if (isNamed) {
          const order = isAmerican ? ['month', 'day', 'year'] : ['day', 'month', 'year'];
          gap(isAmerican ? ', ' : tag === 'en' && o.weekday === 'long' ? ' ' : ', ');
          order.filter((field) => dated.includes(field)).forEach((field, index) => {
            if (index > 0) put('literal', isAmerican && field === 'year' && dated.includes('day') ? ', ' : ' ');
            write[field]();
          });
        } else {
          gap(', ');
          const isDotted = ['de', 'ru', 'pl', 'cs', 'fi', 'nb', 'no', 'da', 'tr', 'uk', 'bg', 'sk', 'ro', 'hu'].includes(tag);
          const isIso = tag === 'sv' || this.#locale === 'en-CA';
          const order = isIso ? ['year', 'month', 'day'] : isAmerican ? ['month', 'day', 'year'] : ['day', 'month', 'year'];
          const between = isIso || tag === 'nl' ? '-' : isDotted ? '.' : '/';
          const isPadded = isIso || ['en-GB', 'en-AU', 'en-NZ', 'fr', 'pt', 'pl'].some((one) => one === this.#locale || one === tag);
          order.filter((field) => dated.includes(field)).forEach((field, index) => {
            if (index > 0) put('literal', between);
            if (isPadded && field !== 'year') put(field, two(field === 'day' ? at.day : at.month + 1));
            else write[field]();
          });
        }
      }
      if (o.hour !== undefined || o.minute !== undefined || o.second !== undefined || o.fractionalSecondDigits !== undefined) {
        gap(o.month === 'long' && dated.length > 1 ? ' at ' : ', ');
        let first = true;
        const colon = () => { if (!first) put('literal', ':'); first = false; };
        const isTwelve = this.#cycle === 'h12';
        if (o.hour !== undefined) {
          colon();
          let hour = isTwelve ? at.hour % 12 || 12 : at.hour;
          if (this.#cycle === 'h24' && hour === 0) hour = 24;
          put('hour', o.hour === '2-digit' || (!isTwelve && this.#cycle !== 'h11') ? two(hour) : hour);
        }
        if (o.minute !== undefined) { colon(); put('minute', o.hour !== undefined || o.minute === '2-digit' || o.second !== undefined ? two(at.minute) : at.minute); }
        if (o.second !== undefined) { colon(); put('second', o.minute !== undefined || o.second === '2-digit' ? two(at.second) : at.second); }
        if (o.fractionalSecondDigits !== undefined) {
          if (!first) put('literal', '.');
          put('fractionalSecond', String(at.fraction).padStart(3, '0').slice(0, o.fractionalSecondDigits));
        }
        if (o.hour !== undefined && isTwelve) { put('literal', ' '); put('dayPeriod', at.hour < 12 ? 'AM' : 'PM'); }
      }
      if (o.era !== undefined) { gap(' '); put('era', o.era === 'long' ? (at.year > 0 ? 'Anno Domini' : 'Before Christ') : o.era === 'narrow' ? (at.year > 0 ? 'A' : 'B') : at.year > 0 ? 'AD' : 'BC'); }
      if (o.timeZoneName !== undefined) { gap(parts.length > 5 || o.hour !== undefined ? ' ' : ', '); put('timeZoneName', kit.zoneName(this.#zone, at.ms, o.timeZoneName)); }
      return parts;
    };
    format = (given) => this.formatToParts(given).map((part) => part.value).join('');
    formatRange(from, to) { return `${this.format(from)} – ${this.format(to)}`; }
    static supportedLocalesOf(locales) { return [].concat(locales ?? []); }
  }
  class PluralRules {
    #isOrdinal;
    constructor(locales, options = {}) { this.#isOrdinal = options.type === 'ordinal'; }
    select(value) {
      if (!this.#isOrdinal) return value === 1 ? 'one' : 'other';
      const [ten, hundred] = [value % 10, value % 100];
      if (ten === 1 && hundred !== 11) return 'one';
      if (ten === 2 && hundred !== 12) return 'two';
      return ten === 3 && hundred !== 13 ? 'few' : 'other';
    }
    resolvedOptions() { return { locale: 'en-US' }; }
  }
  class RelativeTimeFormat {
    #options; #numbers;
    constructor(locales, options = {}) { this.#options = options; this.#numbers = new NumberFormat('en-US'); }
    format(value, unit) {
      const name = String(unit).replace(/s$/, '');
      const { numeric = 'always', style = 'long' } = this.#options;
      const words = { day: ['yesterday', 'today', 'tomorrow'] }[name] ?? (['quarter', 'year', 'month', 'week'].includes(name) ? [`last ${name}`, `this ${name}`, `next ${name}`] : undefined);
      const plain = { hour: 'this hour', minute: 'this minute', second: 'now' };
      if (numeric === 'auto' && words && Math.abs(value) <= 1 && Number.isInteger(value)) return words[value + 1];
      if (numeric === 'auto' && value === 0 && plain[name]) return plain[name];
      const amount = this.#numbers.format(Math.abs(value));
      const short = { year: 'yr.', quarter: 'qtr.', month: 'mo.', week: 'wk.', hour: 'hr.', minute: 'min.', second: 'sec.' };
      let noun = style === 'long' ? name : short[name] ?? name;
      if (amount !== '1' && (style === 'long' || name === 'day')) noun += 's';
      if (amount !== '1' && style !== 'long' && name === 'quarter') noun = 'qtrs.';
      return value < 0 || Object.is(value, -0) ? `${amount} ${noun} ago` : `in ${amount} ${noun}`;
    }
    formatToParts(value, unit) { return [{ type: 'literal', value: this.format(value, unit) }]; }
    resolvedOptions() { return { locale: 'en-US', numeric: 'always', style: 'long', numberingSystem: 'latn', ...this.#options }; }
  }
  class ListFormat {
    #options;
    constructor(locales, options = {}) { this.#options = options; }
    format(given) {
      const list = [...given];
      const { type = 'conjunction', style = 'long' } = this.#options;
      const word = type === 'disjunction' ? 'or' : style === 'short' ? '&' : 'and';
      if (type === 'unit') return list.join(style === 'narrow' ? ' ' : ', ');
      if (list.length < 2) return list.join('');
      if (style === 'narrow' && type === 'conjunction') return list.join(', ');
      if (list.length === 2) return `${list[0]} ${word} ${list[1]}`;
      return `${list.slice(0, -1).join(', ')}, ${word} ${list[list.length - 1]}`;
    }
    resolvedOptions() { return { locale: 'en-US', ...this.#options }; }
  }
  const fold = (text) => text.normalize('NFD').replace(/[̀-ͯ]/g, '');
  class Collator {
    #options;
    constructor(locales, options = {}) { this.#options = options; }
    compare = (one, other) => {
      const { sensitivity = 'variant', numeric = false } = this.#options;
      const key = (text, level) => (level === 0 ? fold(text).toLowerCase() : level === 1 ? text.toLowerCase() : text);
      const order = (a, b) => {
        if (!numeric) return a < b ? -1 : a > b ? 1 : 0;
        const [left, right] = [a.split(/(\d+)/), b.split(/(\d+)/)];
        for (let at = 0; at < Math.min(left.length, right.length); at += 1) {
          if (left[at] === right[at]) continue;
          if (at % 2 === 1) { const by = Number(left[at]) - Number(right[at]); if (by !== 0) return by < 0 ? -1 : 1; continue; }
          return left[at] < right[at] ? -1 : 1;
        }
        return Math.sign(left.length - right.length);
      };
      const [a, b] = [String(one), String(other)];
      const base = order(key(a, 0), key(b, 0));
      if (base !== 0 || sensitivity === 'base') return base;
      const accent = order(key(a, 1), key(b, 1));
      if (accent !== 0 && sensitivity !== 'case') return accent;
      if (sensitivity === 'accent') return 0;
      // Small letters stand before capitals.
      return a === b ? 0 : order(b, a);
    };
    resolvedOptions() { return { locale: 'en-US', ...this.#options }; }
  }
  class DisplayNames {
    #options;
    constructor(locales, options = {}) { this.#options = options; }
    of(code) {
      const table = { region: { US: 'United States', DE: 'Germany', GB: 'United Kingdom', FR: 'France', UA: 'Ukraine', PL: 'Poland', ES: 'Spain', IT: 'Italy' },
        language: { en: 'English', de: 'German', fr: 'French', uk: 'Ukrainian', pl: 'Polish', es: 'Spanish', it: 'Italian' },
        currency: { USD: 'US Dollar', EUR: 'Euro', GBP: 'British Pound', JPY: 'Japanese Yen' } }[this.#options.type] ?? {};
      return table[code] ?? code;
    }
  }
  return { NumberFormat, DateTimeFormat, PluralRules, RelativeTimeFormat, ListFormat, Collator, DisplayNames, getCanonicalLocales: (locales) => [].concat(locales ?? []) };
})
