//! The one text of a JSON value, for hashing: RFC 8785, but with all digits of every integer.
//!
//! RFC 8785 writes numbers as ECMAScript does, which rounds integers above 2^53; a hash must not be the same for two
//! sizes that differ. What a database does to a number (`1e2` and `100`, `1.50` and `1.5`) changes nothing here. Keep
//! fractions to 15 significant digits: serde_json does not promise to read more of them exactly.

use serde_json::{Number, Value};

/// The canonical text.
pub fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(truth) => text.push_str(if *truth { "true" } else { "false" }),
        Value::Number(number) => text.push_str(&digits(number)),
        Value::String(string) => quoted(string, text),
        Value::Array(values) => {
            text.push('[');
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                write(value, text);
            }
            text.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by(|(one, _), (other, _)| one.encode_utf16().cmp(other.encode_utf16()));
            text.push('{');
            for (at, (name, value)) in members.into_iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                quoted(name, text);
                text.push(':');
                write(value, text);
            }
            text.push('}');
        }
    }
}

/// serde_json escapes exactly what section 3.2.2.2 lists, and as it does.
fn quoted(string: &str, text: &mut String) {
    text.push_str(&serde_json::to_string(string).expect("a text is JSON"));
}

/// <https://tc39.es/ecma262/#sec-numeric-types-number-tostring>
fn digits(number: &Number) -> String {
    if !number.is_f64() {
        return number.to_string();
    }
    let number = number.as_f64().expect("just asked");
    if number == 0.0 {
        return "0".to_owned();
    }
    // The shortest digits that give this number again, and where the point is.
    let scientific = format!("{:e}", number.abs());
    let (mantissa, exponent) = scientific.split_once('e').expect("has an exponent");
    let digits = mantissa.replace('.', "");
    let count = i32::try_from(digits.len()).expect("at most 17 digits");
    let point = exponent.parse::<i32>().expect("is a number") + 1;
    let zeros = |many: i32| "0".repeat(usize::try_from(many).unwrap_or_default());
    let magnitude = match point {
        _ if count <= point && point <= 21 => format!("{digits}{}", zeros(point - count)),
        1..=21 => {
            let (whole, fraction) = digits.split_at(usize::try_from(point).unwrap_or_default());
            format!("{whole}.{fraction}")
        }
        -5..=0 => format!("0.{}{digits}", zeros(-point)),
        _ => {
            let (first, rest) = digits.split_at(1);
            let rest = if rest.is_empty() { String::new() } else { format!(".{rest}") };
            format!("{first}{rest}e{:+}", point - 1)
        }
    };
    if number < 0.0 { format!("-{magnitude}") } else { magnitude }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(text: &str) -> String {
        canonical(&serde_json::from_str(text).expect("JSON"))
    }

    /// The examples of RFC 8785, sections 3.2.2 and 3.2.3, and appendix B.
    #[test]
    fn as_the_rfc_has_it() {
        let example = r#"{ "numbers": [333333333.3333333, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
            "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false] }"#;
        let expected = "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],\
                        \"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}";
        assert_eq!(of(example), expected);
        let keys = r#"{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}"#;
        assert_eq!(
            of(keys),
            "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"ö\":7,\"€\":1,\"\u{1f600}\":5,\"\u{fb33}\":3}"
        );
        for (bits, text) in [
            (0x8000_0000_0000_0000, "0"),
            (0x0000_0000_0000_0001, "5e-324"),
            (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
            (0x4430_0000_0000_0000, "295147905179352830000"),
            (0x44b5_2d02_c7e1_4af6, "1e+23"),
            (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
            (0x41b3_de43_5555_5553, "333333333.3333332"),
        ] {
            assert_eq!(canonical(&json!(f64::from_bits(bits))), text);
        }
        assert_eq!(of("1e-7"), "1e-7");
        assert_eq!(of("1e21"), "1e+21");
    }

    #[test]
    fn integers_keep_their_digits_and_their_spelling_does_not_matter() {
        assert_eq!(of("18446744073709551615"), "18446744073709551615");
        assert_eq!(of("-9223372036854775808"), "-9223372036854775808");
        assert_eq!((of("100.0"), of("1e2"), of("100")), ("100".into(), "100".into(), "100".into()));
        assert_eq!(of("1e16"), of("10000000000000000"));
    }
}
