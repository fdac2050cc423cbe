// SPDX-License-Identifier: GPL-2.0-only

//! How busy devices and paths are, as text and JSON.

mod machine;

use std::{
    thread,
    time::Duration, //
};

use machine::{
    Machine,
    PATH, //
};
use serde_json::Value;

#[test]
fn text_of_both_sides() {
    let client = Machine::client().output(&["top", "--once", "-i", "0.1"]);
    let server = Machine::server();

    assert!(client.starts_with("DEVICE "), "{client}");
    assert!(client.contains("\nrnbd0   client  s1       open   0        0 "));
    assert!(client.contains("\n\nPATH ") && client.contains(&format!("\n{PATH}  client")));
    server.file("/sys/class/block/ram0/stat", "5 0 16 7 3 1 8 9 2 11 16\n");
    let server = server.output(&["top", "--batch", "2", "--interval=0.1"]);
    assert_eq!(
        server
            .matches("\nram0    server  s1       -      0 ")
            .count(),
        2
    );
    Machine::new()
        .run(&["top", "--once", "-i0.1"])
        .fails(5, &["driver", "modprobe"]);
}

#[test]
fn one_line_of_json_for_each_sample() {
    let machine = Machine::client();
    let text = thread::scope(|scope| {
        let top = scope.spawn(|| machine.output(&["--json", "top", "--batch=2", "-i1"]));

        thread::sleep(Duration::from_millis(500));
        machine.file("/sys/block/rnbd0/stat", "105 0 816 57 3 1 8 9 4 11 16\n");
        machine.file(
            &format!("/sys/class/rtrs-client/s1/paths/{PATH}/stats/rdma"),
            "101 413696 2 8192 6 4\n",
        );
        top.join().expect("an end")
    });
    let samples: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let [first, second] = samples.as_slice() else {
        panic!("{text}");
    };
    let rate = |value: &Value| value["reads_per_s"].as_f64().expect("a rate");

    assert_eq!(first["version"], 1);
    for busy in [&first["devices"][0], &first["paths"][0]] {
        assert!(rate(busy) > 10.0 && rate(busy) <= 101.0, "{busy}");
    }
    assert_eq!(first["devices"][0]["read_ns"], 500_000);
    assert_eq!(first["devices"][0]["in_flight"], 4);
    assert_eq!(first["paths"][0]["in_flight"], 6);
    assert_eq!(first["paths"][0]["latency_ns"], 12345);
    assert_eq!(rate(&second["devices"][0]), 0.0);
    assert_eq!(second["devices"][0]["read_ns"], Value::Null);
}

#[test]
fn wrong_options() {
    let machine = Machine::new();

    for wrong in ["0", "-1", "x", "1e9", "nan"] {
        machine
            .run(&["top", "--once", &format!("--interval={wrong}")])
            .fails(2, &["from 0.1 to 3600"]);
    }
    machine.run(&["top", "--batch", "0"]).fails(2, &["--batch"]);
    machine
        .run(&["top", "--once", "--batch", "2"])
        .fails(2, &["--once"]);
}
