//! Writes `results.json`: a list with an object per subject and base.

use super::table::Table;

/// Formats all tables as one JSON list.
pub(super) fn list(tables: &[Table]) -> String {
    let objects: Vec<String> = tables.iter().flat_map(objects).collect();
    if objects.is_empty() { "[]\n".to_owned() } else { format!("[\n{}\n]\n", objects.join(",\n")) }
}

fn objects(table: &Table) -> impl Iterator<Item = String> {
    table.rows.iter().flat_map(move |row| {
        table.bases.iter().zip(&row.ratios).map(move |(base, ratio)| {
            object(&[
                ("group", string(table.group)),
                ("case", string(&table.case)),
                ("subject", string(&row.subject)),
                ("metric", string(table.metric)),
                ("unit", string(table.unit)),
                ("median", number(row.costs.median)),
                ("p10", number(row.costs.p10)),
                ("p90", number(row.costs.p90)),
                ("rounds", row.rounds.to_string()),
                ("ratio_to", string(base)),
                ("ratio", number(ratio.of_medians)),
                ("ratio_p25", number(ratio.p25)),
                ("ratio_p75", number(ratio.p75)),
            ])
        })
    })
}

/// Formats an object of fields whose values are JSON already.
fn object(fields: &[(&str, String)]) -> String {
    let pairs: Vec<_> =
        fields.iter().map(|(name, value)| format!("{}: {value}", string(name))).collect();
    format!("{{{}}}", pairs.join(", "))
}

/// Escapes quotes, backslashes and control characters (RFC 8259, section 7).
fn string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\0'..=' ' if character != ' ' => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            _ => quoted.push(character),
        }
    }
    quoted + "\""
}

/// Formats a number; `null` for infinities and NaN, such as a ratio to a base of zero.
fn number(value: f64) -> String {
    if value.is_finite() { format!("{value:.4}") } else { "null".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::Base;
    use super::super::table::example;
    use super::{list, number, string};

    #[test]
    fn each_subject_has_an_object_per_base() {
        let bases = &[Base::Subject("epoll"), Base::Subject("tokio")];
        let table = example(bases, &[("epoll", &[2.0]), ("tokio", &[4.0]), ("asyncoro", &[1.0])]);
        let text = list(&[table]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[0], lines[7]), (8, "[", "]"));
        let last = "{\"group\": \"echo\", \"case\": \"K = 8, 64 B\", \"subject\": \"asyncoro\", \
                    \"metric\": \"time per request\", \"unit\": \"ns\", \"median\": 1.0000, \
                    \"p10\": 1.0000, \"p90\": 1.0000, \"rounds\": 1, \"ratio_to\": \"tokio\", \
                    \"ratio\": 0.2500, \"ratio_p25\": 0.2500, \"ratio_p75\": 0.2500}";
        assert_eq!(lines[6], last);
        assert!(lines[1..6].iter().all(|line| line.ends_with("},")));
    }

    #[test]
    fn whatever_is_measured_is_json() {
        assert_eq!(list(&[]), "[]\n");
        assert_eq!(string("a \"b\" \\ \n µ"), "\"a \\\"b\\\" \\\\ \\u000a µ\"");
        assert_eq!(number(1.0 / 0.0), "null");
        assert_eq!(number(f64::NAN), "null");
        assert_eq!(number(-0.5), "-0.5000");
    }
}
