//! Fields in every form that HPACK has, and in forms that it has not.

use crate::{
    case::{Case, case, get, post, run},
    messages::body_of,
    wire::{COMPRESSION_ERROR, Connection, Fields, Frame, headers, integer, string},
};

#[test]
fn fields_are_found_in_both_tables_and_nowhere_else() {
    run(&tables());
}

#[test]
fn integers_and_strings_are_within_bounds() {
    run(&primitives());
}

#[test]
fn every_form_of_a_field_is_understood() {
    run(&forms());
}

#[test]
fn the_table_is_as_large_as_was_agreed() {
    run(&table_sizes());
}

/// A request on stream 1 with something behind its fields.
fn with(tail: impl AsRef<[u8]>) -> Frame {
    headers(1, Fields::get("/hello").bytes(tail)).end()
}

fn tables() -> Vec<Case> {
    vec![
        case("7541-2.3.1 the static table's request")
            .send(
                headers(
                    1,
                    Fields::none()
                        .indexed(2)
                        .indexed(6)
                        .indexed(4)
                        .and(":authority", "test.example"),
                )
                .end(),
            )
            .holds(|connection| {
                match connection.hear(|event| event.status(1).is_some() || event.ends(1)) {
                    // The app has nothing there; that it was asked is enough.
                    Ok(event) if event.status(1).is_some() => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            }),
        case("7541-2.3.3 an index beyond both tables")
            .send(with(integer(0x80, 7, 70)))
            .ends(&[COMPRESSION_ERROR]),
        case("7541-2.3.3 the first index beyond the static table while the other is empty")
            .send(with(integer(0x80, 7, 62)))
            .ends(&[COMPRESSION_ERROR]),
        case("7541-2.3.3 a name beyond both tables")
            .send(headers(1, Fields::get("/hello").and_named(0x40, 6, 70, "value")).end())
            .ends(&[COMPRESSION_ERROR]),
        case("7541-2.3.3 an index in trailers")
            .send(post(1))
            .send(headers(1, Fields::none().indexed(99)).end())
            .ends(&[COMPRESSION_ERROR]),
        case("7541-2.3.2 the newest entry is the first")
            .send(
                headers(
                    1,
                    Fields::get("/headers")
                        .and_remember("x-old", "1")
                        .and_remember("x-new", "2")
                        .indexed(62)
                        .indexed(63)
                        .indexed(63),
                )
                .end(),
            )
            .holds(|connection| counts(connection, 1, &[("x-old: 1", 3), ("x-new: 2", 2)])),
        case("7541-6.1 index 0")
            .send(with([0x80]))
            .ends(&[COMPRESSION_ERROR]),
        case("7541-4.4 an entry that is larger than the table empties it")
            .send(
                headers(
                    1,
                    Fields::get("/hello")
                        .and_remember("x-old", "1")
                        .and_remember("x-big", [b'a'; 4_096])
                        .indexed(62),
                )
                .end(),
            )
            .ends(&[COMPRESSION_ERROR]),
        case("7541-4.4 old entries make room for new ones")
            .send(
                headers(
                    1,
                    Fields::get("/headers")
                        .and_remember("x-old", "1")
                        .and_remember("x-big", [b'a'; 4_050])
                        .indexed(62)
                        .indexed(63),
                )
                .end(),
            )
            .ends(&[COMPRESSION_ERROR]),
    ]
}

fn primitives() -> Vec<Case> {
    vec![
        case("7541-5.1 an integer beyond all bounds")
            .send(with([
                0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
            ]))
            .ends(&[COMPRESSION_ERROR]),
        case("7541-5.1 an integer that does not end")
            .send(with([0xff, 0xff]))
            .ends(&[COMPRESSION_ERROR]),
        case("7541-5.1 an integer of many octets that say nothing")
            .send(with([&[0xff][..], &[0x80; 40], &[0x00]].concat()))
            .ends(&[COMPRESSION_ERROR]),
        case("7541-5.1 the length of a string beyond all bounds")
            .send(with([0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0x0f, b'a']))
            .ends(&[COMPRESSION_ERROR]),
        case("7541-5.2 a string that is longer than its block")
            .send(with([0x00, 0x0a, b'a']))
            .ends(&[COMPRESSION_ERROR]),
        case("7541-5.2 a field without its value")
            .send(with([&[0x00][..], &string("x-field")].concat()))
            .ends(&[COMPRESSION_ERROR]),
        // "a" is 00011 and wants three ones behind it.
        case("7541-5.2 filling of more than seven bits")
            .send(with(
                [&[0x00][..], &string("x-field"), &[0x82, 0x1f, 0xff]].concat(),
            ))
            .ends(&[COMPRESSION_ERROR]),
        case("7541-5.2 filling with zeros")
            .send(with(
                [&[0x00][..], &string("x-field"), &[0x81, 0x18]].concat(),
            ))
            .ends(&[COMPRESSION_ERROR]),
        case("7541-5.2 EOS in a string")
            .send(with(
                [
                    &[0x00][..],
                    &string("x-field"),
                    &[0x85, 0x1f, 0xff, 0xff, 0xff, 0xff],
                ]
                .concat(),
            ))
            .ends(&[COMPRESSION_ERROR]),
        case("7541-5.2 a name with a bad code")
            .send(with([&[0x00, 0x81, 0x18][..], &string("value")].concat()))
            .ends(&[COMPRESSION_ERROR]),
        case("7541-5.2 a code without an octet")
            .send(
                headers(
                    1,
                    Fields::get("/hello")
                        .bytes([0x00])
                        .bytes(string("x-field"))
                        .bytes([0x80]),
                )
                .end(),
            )
            .serves(1),
        case("7541-5.2 names and values in Huffman's code")
            .send(
                headers(
                    1,
                    Fields::get("/headers").and_huffman("x-coded", "~ {every} [kind] of_octet?\\^"),
                )
                .end(),
            )
            .holds(|connection| {
                counts(
                    connection,
                    1,
                    &[("x-coded: ~ {every} [kind] of_octet?\\^", 1)],
                )
            }),
    ]
}

fn forms() -> Vec<Case> {
    vec![
        // 17 is :authority's neighbour accept-language, 58 user-agent.
        case("7541-6.2.1 a literal to be remembered, with a name of the table's")
            .send(
                headers(
                    1,
                    Fields::get("/headers")
                        .and_named(0x40, 6, 58, "tester")
                        .indexed(62),
                )
                .end(),
            )
            .holds(|connection| counts(connection, 1, &[("user-agent: tester", 2)])),
        case("7541-6.2.2 a literal to be forgotten, with a name of the table's")
            .send(headers(1, Fields::get("/headers").and_named(0x00, 4, 58, "tester")).end())
            .holds(|connection| counts(connection, 1, &[("user-agent: tester", 1)])),
        case("7541-6.2.3 a literal never to be remembered, with a name of the table's")
            .send(headers(1, Fields::get("/headers").and_named(0x10, 4, 58, "tester")).end())
            .holds(|connection| counts(connection, 1, &[("user-agent: tester", 1)])),
        case("7541-6.2.3 a literal never to be remembered, with a name of its own")
            .send(
                headers(
                    1,
                    Fields::get("/headers")
                        .bytes([0x10])
                        .bytes(string("x-secret"))
                        .bytes(string("yes")),
                )
                .end(),
            )
            .holds(|connection| counts(connection, 1, &[("x-secret: yes", 1)])),
        case("7541-6.2.2 what is to be forgotten is not in the table")
            .send(headers(1, Fields::get("/hello").and("x-field", "value").indexed(62)).end())
            .ends(&[COMPRESSION_ERROR]),
        case("7541-2.2 the table lasts from request to request")
            .send(headers(1, Fields::get("/hello").and_remember("x-kept", "yes")).end())
            .send(headers(3, Fields::get("/headers").indexed(62)).end())
            .holds(|connection| counts(connection, 3, &[("x-kept: yes", 1)])),
    ]
}

fn table_sizes() -> Vec<Case> {
    let sized = |fields: Fields, stream| {
        let block = [fields.encoded(), Fields::get("/hello").encoded()].concat();
        headers(stream, Fields::from(block)).end()
    };
    vec![
        case("7541-4.2 a size behind the fields")
            .send(with(integer(0x20, 5, 1)))
            .ends(&[COMPRESSION_ERROR]),
        case("7541-4.2 a size between the fields")
            .send(
                headers(
                    1,
                    Fields::get("/hello").table_size(0).and("x-field", "value"),
                )
                .end(),
            )
            .ends(&[COMPRESSION_ERROR]),
        case("7541-6.3 a size beyond the server's SETTINGS")
            .perform(|connection| {
                let most = connection.setting(0x1).unwrap_or(4_096);
                let size = Fields::none().table_size(u64::from(most) + 1).encoded();
                connection.send(
                    &headers(
                        1,
                        Fields::from([size, Fields::get("/hello").encoded()].concat()),
                    )
                    .end(),
                );
                Ok(())
            })
            .ends(&[COMPRESSION_ERROR]),
        case("7541-6.3 a size beyond all bounds")
            .send(sized(Fields::none().table_size(1 << 40), 1))
            .ends(&[COMPRESSION_ERROR]),
        case("7541-6.3 a smaller size")
            .send(sized(Fields::none().table_size(100), 1))
            .serves(1),
        case("7541-4.2 two sizes in front")
            .send(sized(Fields::none().table_size(0).table_size(4_096), 1))
            .serves(1),
        case("7541-4.3 a size of 0 empties the table")
            .send(headers(1, Fields::get("/hello").and_remember("x-kept", "yes")).end())
            .finish(1)
            .send(sized(Fields::none().table_size(0).table_size(4_096), 3))
            .finish(3)
            .send(headers(5, Fields::get("/hello").indexed(62)).end())
            .ends(&[COMPRESSION_ERROR]),
        case("7541-4.2 what fits into the whole table only")
            .send(get(1))
            .send(
                headers(
                    3,
                    Fields::get("/headers")
                        .and_remember("x-big", [b'a'; 4_096 - 32 - 5])
                        .indexed(62),
                )
                .end(),
            )
            .holds(|connection| {
                let line = format!("x-big: {}", "a".repeat(4_096 - 32 - 5));
                counts(connection, 3, &[(&line, 2)])
            }),
    ]
}

/// So many times each line in what the app got.
fn counts(connection: &mut Connection, stream: u32, lines: &[(&str, usize)]) -> Result<(), String> {
    let body = body_of(connection, stream)?;
    for (line, wanted) in lines {
        let count = body
            .lines()
            .filter(|found| found.eq_ignore_ascii_case(line))
            .count();
        if count != *wanted {
            return Err(format!("{count} times {line:?} in {body}"));
        }
    }
    Ok(())
}
