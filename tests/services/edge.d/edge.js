// What nginx has no directive for: Akamai's Auth Token 2.0, G2O version 5, AWS Signature 4, and the record of what went
// to an origin. Settings come from the environment. For njs 0.7.9 of Debian 12, which knows neither
// `for (… of …)` nor destructuring.
import crypto from 'crypto';
import fs from 'fs';

const settings = process.env;
const originHost = settings.EDGE_ORIGIN.split('/')[2];
const bucketPath = `/${settings.EDGE_ORIGIN.split('/')[3]}`;
const tokenKeys = settings.EDGE_TOKEN_KEY.split(',').filter(hex => hex !== '').map(hex => Buffer.from(hex, 'hex'));
const tokenName = settings.EDGE_TOKEN_NAME;
const tree = JSON.parse(fs.readFileSync(`${settings.EDGE_DIR}/rules.json`)).rules;

function mac(key, text) {
    return crypto.createHmac('sha256', key).update(text);
}

function digest(text) {
    return crypto.createHash('sha256').update(text).digest('hex');
}

// A pattern as paths and access lists have it: `*` is any text, `?` any character.
function pattern(text, flags) {
    const literal = text.replace(/[.+^${}()|[\]\\]/g, '\\$&');
    return new RegExp(`^${literal.replace(/\*/g, '.*').replace(/\?/g, '.')}$`, flags);
}

// ---- the property's rule tree, as far as paths decide: what it denies, forwards, and asks a token for ----

function pathAsked(r) {
    return r.variables.request_uri.split('?')[0];
}

function applies(rule, r) {
    const criteria = rule.criteria || [];
    const holds = criterion => {
        const options = criterion.options;
        if (criterion.name !== 'path') return false;
        // nginx decodes $uri and resolves its dots, as `normalize` does.
        const path = options.normalize ? r.variables.uri : pathAsked(r);
        const one = options.values.some(value => pattern(value, options.matchCaseSensitive ? '' : 'i').test(path));
        return one === (options.matchOperator === 'MATCHES_ONE_OF');
    };
    return rule.criteriaMustSatisfy === 'any' ? criteria.length === 0 || criteria.some(holds) : criteria.every(holds);
}

// The options of the behaviors of a name that take effect, in their order.
function behaviors(r, name, rule) {
    rule = rule || tree;
    if (!applies(rule, r)) return [];
    const own = (rule.behaviors || []).filter(behavior => behavior.name === name).map(behavior => behavior.options);
    return (rule.children || []).reduce((all, child) => all.concat(behaviors(r, name, child)), own);
}

// The last behavior of a name wins.
function last(r, name) {
    return behaviors(r, name).pop() || {};
}

// `1` where access is denied: behaviors with the same reason override each other.
function denied(r) {
    const reasons = {};
    behaviors(r, 'denyAccess').forEach(options => { reasons[options.reason] = options.enabled; });
    return Object.keys(reasons).some(reason => reasons[reason]) ? '1' : '';
}

// What goes on to the bucket of the client's query. (Akamai leaves the question mark; it says nothing to a bucket.)
function forwardedQuery(r) {
    const removed = last(r, 'removeQueryParameter').parameters || [];
    const is_removed = part => removed.indexOf('*') >= 0 || removed.indexOf(part.split('=')[0]) >= 0;
    const parts = (r.variables.args || '').split('&').filter(part => part !== '' && !is_removed(part));
    return parts.length === 0 ? '' : `?${parts.join('&')}`;
}

// The host by which the device listener is asked.
function forwardHost(r) {
    return last(r, 'origin').forwardHostHeader === 'ORIGIN_HOSTNAME' ?
        settings.EDGE_SERVICE.split('/')[2] : r.headersIn.Host;
}

// ---- Auth Token 2.0; Akamai's reference: PyPI akamai-edgeauth ----

// Finds `NAME=VALUE` among the parts of a text.
function valueIn(text, separator) {
    const found = (text || '').split(separator).map(part => part.trim()).find(part => part.startsWith(`${tokenName}=`));
    return found && found.slice(tokenName.length + 1);
}

// Whether one of an ACL's patterns, which `!` separates, covers the path.
function covers(acl, path) {
    return acl.split('!').some(part => pattern(part, '').test(path));
}

// `ok`, or in a word why the request is refused.
function token(r) {
    const path = pathAsked(r);
    if (tokenKeys.length === 0 || behaviors(r, 'verifyTokenAuthorization').length === 0) return 'ok';
    const given = valueIn(r.variables.args, '&') || r.headersIn[tokenName] || valueIn(r.headersIn.Cookie, ';');
    if (!given) return 'absent';
    const parts = given.match(/^(.+)~hmac=([0-9a-f]+)$/);
    if (!parts) return 'malformed';
    const fields = {};
    const once = parts[1].split('~').every(field => {
        const at = field.indexOf('=');
        const name = field.slice(0, at);
        const fresh = at > 0 && fields[name] === undefined;
        fields[name] = field.slice(at + 1);
        return fresh;
    });
    if (!once || !/^\d+$/.test(fields.exp || '') || !/^\d*$/.test(fields.st || '')) return 'malformed';
    const url = fields.acl === undefined ? `~url=${path}` : '';
    const salt = settings.EDGE_TOKEN_SALT ? `~salt=${settings.EDGE_TOKEN_SALT}` : '';
    const signed = parts[1] + url + salt;
    if (!tokenKeys.some(key => mac(key, signed).digest('hex') === parts[2])) return 'forged';
    const now = Date.now() / 1000;
    if (now >= Number(fields.exp) + 1) return 'expired';
    if (fields.st && now < Number(fields.st)) return 'early';
    if (fields.ip && fields.ip !== r.remoteAddress) return 'address';
    return fields.acl === undefined || covers(fields.acl, path) ? 'ok' : 'path';
}

// ---- to the bucket ----

// As AWS Signature 4 escapes.
function escaped(text) {
    return encodeURIComponent(text).replace(/[!'()*]/g, sign => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`);
}

// The object's path in the bucket, and what goes on of the query.
function object(r) {
    return bucketPath + r.variables.uri.split('/').map(escaped).join('/') + forwardedQuery(r);
}

function canonicalQuery(query) {
    return query.split('&').filter(part => part !== '').map(part => {
        const at = part.indexOf('=') < 0 ? part.length : part.indexOf('=');
        return `${escaped(decodeURIComponent(part.slice(0, at)))}=${escaped(decodeURIComponent(part.slice(at + 1)))}`;
    }).sort().join('&');
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
function amzDate() {
    return settings.EDGE_ORIGIN_ACCESS_KEY_ID ? `${new Date().toISOString().replace(/[-:]/g, '').slice(0, 15)}Z` : '';
}

function amzContent() {
    return settings.EDGE_ORIGIN_ACCESS_KEY_ID ? digest('') : '';
}

function amzAuthorization(r) {
    const time = r.variables.amz_date;
    if (!time) return '';
    const names = 'host;x-amz-content-sha256;x-amz-date';
    const parts = r.variables.request_uri.slice('/bucket'.length).split('?');
    const query = canonicalQuery(parts.slice(1).join('?'));
    const canonical = `${r.method}\n${parts[0]}\n${query}\nhost:${originHost}\nx-amz-content-sha256:${digest('')}\n` +
        `x-amz-date:${time}\n\n${names}\n${digest('')}`;
    const scope = [time.slice(0, 8), settings.EDGE_ORIGIN_REGION, 's3', 'aws4_request'];
    const key = scope.reduce((so_far, part) => mac(so_far, part).digest(),
        `AWS4${settings.EDGE_ORIGIN_SECRET_ACCESS_KEY}`);
    const signature = mac(key, `AWS4-HMAC-SHA256\n${time}\n${scope.join('/')}\n${digest(canonical)}`).digest('hex');
    return `AWS4-HMAC-SHA256 Credential=${settings.EDGE_ORIGIN_ACCESS_KEY_ID}/${scope.join('/')}, ` +
        `SignedHeaders=${names}, Signature=${signature}`;
}

// ---- to the service: G2O, https://techdocs.akamai.com/property-mgr/docs/origin-server (signature header) ----

function g2oData(r) {
    if (!settings.EDGE_G2O_KEY) return '';
    const client = r.headersIn['True-Client-IP'] || r.remoteAddress;
    const now = Math.floor(Date.now() / 1000);
    return ['5', '127.0.0.1', client, now, `${now}.${r.variables.request_id}`, settings.EDGE_G2O_NONCE].join(', ');
}

function g2oSign(r) {
    const path = r.variables.request_uri.slice('/service'.length);
    return settings.EDGE_G2O_KEY ? mac(settings.EDGE_G2O_KEY, r.variables.g2o_data + path).digest('base64') : '';
}

// ---- records ----

// Runs when the origin's header is here and the client has nothing yet: who has an answer finds the line.
function record(r) {
    const origin = r.variables.request_uri.split('/')[1];
    const path = r.variables.request_uri.slice(origin.length + 1);
    const object = path.slice(bucketPath.length).split('?');
    fs.appendFileSync(`${settings.EDGE_DIR}/origin.jsonl`, `${JSON.stringify({
        time: Date.now() / 1000,
        origin: origin,
        method: r.method,
        path: origin === 'bucket' ? object[0] : path,
        query: origin === 'bucket' ? object.slice(1).join('?') : null,
        range: r.headersIn.Range || null,
        revalidation: r.headersIn['If-None-Match'] !== undefined || r.headersIn['If-Modified-Since'] !== undefined,
        status: r.status,
    })}\n`);
}

// DataStream 2: 1 when this answer brought the last byte of the object.
function lastByte(r) {
    const range = (r.variables.sent_http_content_range || '').match(/^bytes \d+-(\d+)\/(\d+)$/);
    const to_end = r.variables.status === '200' ||
        (r.variables.status === '206' && range && Number(range[1]) + 1 === Number(range[2]));
    const all = r.method === 'GET' && r.variables.body_bytes_sent === r.variables.sent_http_content_length;
    return to_end && all ? '1' : '0';
}

// What clients are told of caching: the object's word, or what a property would say in its place.
function cacheControl(r) {
    return settings.EDGE_CACHE_CONTROL || r.variables.upstream_http_cache_control || '';
}

export default {
    token, denied, object, forwardHost, lastByte, cacheControl, amzDate, amzContent, amzAuthorization, g2oData, g2oSign, record,
};
