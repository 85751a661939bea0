//! Separates Rust code from comments and literals, and the product from its tests.
//!
//! It is no parser: it has enough of a lexer to blank what is no code. Every function keeps the
//! number of bytes up to each line end, so that positions and line numbers stay those of the file.
//! The lexical rules are in the Rust reference, chapters "Comments" and "Tokens".

/// Replaces comments, strings and characters in `text` by blanks.
pub(super) fn code(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let in_word = code.ends_with(is_word);
        match no_code(rest, in_word) {
            Some(length) => {
                blank(&mut code, &rest[..length]);
                rest = &rest[length..];
            }
            None => {
                code.push(character);
                rest = &rest[character.len_utf8()..];
            }
        }
    }
    code
}

/// Blanked `code` without what stands under `#[cfg(test)]`, `#[cfg(all(test, ...))]` or
/// `#[cfg(doc)]`, which is for tests and links alone.
pub(super) fn without_tests(code: &str) -> String {
    if code.contains("#![cfg(test)]") || code.contains("#![cfg(all(test") {
        let mut nothing = String::new();
        blank(&mut nothing, code);
        return nothing;
    }
    let mut product = String::with_capacity(code.len());
    let mut rest = code;
    let is_test = ["#[cfg(test)]", "#[cfg(all(test", "#[cfg(doc)]"];
    while let Some(start) = is_test.iter().filter_map(|mark| rest.find(mark)).min() {
        let (before, item) = rest.split_at(start);
        let (item, after) = item.split_at(item_length(item));
        product.push_str(before);
        blank(&mut product, item);
        rest = after;
    }
    product + rest
}

/// Returns the words (identifiers and keywords) of blanked code, each with its line, counted from
/// 1.
pub(super) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.lines().enumerate().flat_map(|(index, line)| {
        line.split(|character| !is_word(character))
            .filter(|word| !word.is_empty())
            .map(move |word| (index + 1, word))
    })
}

/// Returns the line of a position, counted from 1.
pub(super) fn line_at(text: &str, position: usize) -> usize {
    text[..position].matches('\n').count() + 1
}

pub(super) fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Appends as many blanks as `text` has bytes, keeping its line ends.
fn blank(to: &mut String, text: &str) {
    to.extend(text.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
}

/// Returns the length of the comment or literal at the front of `rest`, if there is one.
fn no_code(rest: &str, in_word: bool) -> Option<usize> {
    match rest.as_bytes()[0] {
        b'/' if rest.starts_with("//") => Some(rest.find('\n').unwrap_or(rest.len())),
        b'/' if rest.starts_with("/*") => Some(block_comment(rest)),
        b'"' => Some(quoted(rest, '"')),
        b'\'' => character(rest),
        b'r' | b'b' | b'c' if !in_word => raw_string(rest),
        _ => None,
    }
}

/// Returns the length of a block comment, which may nest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut position = 0;
    while position < rest.len() {
        let here = &rest.as_bytes()[position..];
        if here.starts_with(b"/*") {
            depth += 1;
            position += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            position += 2;
            if depth == 0 {
                return position;
            }
        } else {
            position += 1;
        }
    }
    rest.len()
}

/// Returns the length of a literal between two `quote`s, in which a backslash escapes the next
/// character.
fn quoted(rest: &str, quote: char) -> usize {
    let mut characters = rest.char_indices().skip(1);
    while let Some((position, character)) = characters.next() {
        if character == '\\' {
            characters.next();
        } else if character == quote {
            return position + 1;
        }
    }
    rest.len()
}

/// Returns the length of a character literal; `None` for a lifetime, which has no second quote
/// after its first letter.
fn character(rest: &str) -> Option<usize> {
    let mut characters = rest.char_indices().skip(1);
    let (_, first) = characters.next()?;
    let (position, second) = characters.next()?;
    if first == '\\' { Some(quoted(rest, '\'')) } else { (second == '\'').then_some(position + 1) }
}

/// Returns the length of a raw string (`r"..."`, `r#"..."#`, also `br` and `cr`); `None` for a raw
/// identifier (`r#if`).
fn raw_string(rest: &str) -> Option<usize> {
    let raw = rest.strip_prefix(['b', 'c']).unwrap_or(rest).strip_prefix('r')?;
    let hashes = raw.len() - raw.trim_start_matches('#').len();
    let body = raw[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let before_body = rest.len() - body.len();
    Some(body.find(&end).map_or(rest.len(), |found| before_body + found + end.len()))
}

/// Returns the length of the item at the front of blanked code: to its `;` or to the end of its
/// block.
fn item_length(item: &str) -> usize {
    let mut depth = 0_usize;
    let mut is_use = false;
    for (position, character) in item.char_indices() {
        match character {
            '(' | '[' | '{' => {
                let before = item[..position].trim_end();
                is_use |= depth == 0 && character == '{' && before.ends_with("::");
                depth += 1;
            }
            ')' | ']' | '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 && character == '}' && !is_use {
                    return position + 1;
                }
            }
            ';' if depth == 0 => return position + 1,
            _ => {}
        }
    }
    item.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bare(text: &str) -> String {
        code(text).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_and_literals_are_no_code() {
        assert_eq!(bare("a // b\n/* c /* d */ e */ f"), "a f");
        assert_eq!(bare(r#"x("a\"b", 'c', '\'', '"') y"#), "x( , , , ) y");
        assert_eq!(bare("r\"a\\\" r#\"b\"c\"# br##\"d\"#\"## e"), "e");
        assert_eq!(bare("b\"x\" b'y' c\"z\" w"), "b b c w");
        assert_eq!(bare("/// doc\n//! doc\nfn f() {}"), "fn f() {}");
    }

    #[test]
    fn lifetimes_and_raw_identifiers_are_code() {
        assert_eq!(
            bare("fn f<'a>(x: &'a str, y: &'static u8)"),
            "fn f<'a>(x: &'a str, y: &'static u8)"
        );
        assert_eq!(bare("r#type + var\"x\""), "r#type + var");
    }

    #[test]
    fn positions_stay() {
        let text = "a \"ü\n\" b // ü\nc";
        assert_eq!(code(text).len(), text.len());
        assert_eq!(line_at(&code(text), code(text).find('c').unwrap()), 3);
        assert_eq!(words("a b\nc_d").collect::<Vec<_>>(), [(1, "a"), (1, "b"), (2, "c_d")]);
    }

    #[test]
    fn an_unfinished_literal_ends_with_the_file() {
        assert_eq!(bare("a \"b"), "a");
        assert_eq!(bare("a /* b"), "a");
        assert_eq!(bare("a r#\"b\""), "a");
    }

    #[test]
    fn tests_are_no_product() {
        let product = |text| without_tests(text).split_whitespace().collect::<String>();
        assert_eq!(product("a #[cfg(test)] mod tests { x { y } } b"), "ab");
        assert_eq!(product("a #[cfg(test)] mod tests; b"), "ab");
        assert_eq!(product("a #[cfg(test)] use x::{y, z}; b"), "ab");
        assert_eq!(
            product("a #[cfg(all(test, loom))] #[rustfmt::skip] fn f(a: [u8; 4]) { } b"),
            "ab"
        );
        assert_eq!(product("a #[cfg(doc)] use x::Y; b"), "ab");
        assert_eq!(product("#![cfg(test)] a"), "");
        assert_eq!(product("a #[cfg(not(test))] b"), "a#[cfg(not(test))]b");
    }
}
