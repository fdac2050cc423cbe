// SPDX-License-Identifier: GPL-2.0-only

//! Tables.

use comfy_table::{
    presets,
    ContentArrangement,
    Table, //
};

/// Prints a table with a heading and without lines, as `lsblk` does; nothing without rows.
pub(crate) fn table<const N: usize>(heading: [&str; N], rows: Vec<[String; N]>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut table = empty();

    table.set_header(heading);
    for row in rows {
        table.add_row(row);
    }
    finish(&table)
}

/// Prints names and values in two columns. Values that are not known are left out.
pub(crate) fn details(rows: Vec<(&str, Option<String>)>) -> String {
    let mut table = empty();

    for (name, value) in rows {
        if let Some(value) = value {
            table.add_row([name.to_owned(), value]);
        }
    }
    finish(&table)
}

fn empty() -> Table {
    let mut table = Table::new();

    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn finish(table: &Table) -> String {
    let mut text = String::new();

    for line in table.lines() {
        // Cells have a space on each side.
        text.push_str(line.strip_prefix(' ').unwrap_or(&line).trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = vec![
            ["rnbd0".into(), "1 GiB".into()],
            ["rnbd10".into(), "-".into()],
        ];

        assert_eq!(
            table(["DEVICE", "SIZE"], rows),
            "DEVICE  SIZE\nrnbd0   1 GiB\nrnbd10  -\n"
        );
        assert_eq!(table(["DEVICE"], vec![]), "");
    }

    #[test]
    fn unknown_details_are_left_out() {
        let rows = vec![("state", Some("open".into())), ("polled", None)];

        assert_eq!(details(rows), "state  open\n");
    }
}
