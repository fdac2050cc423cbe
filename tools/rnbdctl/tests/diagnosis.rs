// SPDX-License-Identifier: GPL-2.0-only

//! Latency, metrics, and what the doctor finds.

mod machine;

use machine::{
    Machine,
    PATH, //
};
use serde_json::json;

const LATENCY: &str = "/sys/kernel/debug/rnbd_client/rnbd0";

#[test]
fn histograms_are_drawn() {
    let machine = Machine::client();

    machine.file(
        LATENCY,
        "on\nns_below wait_read remote_read\n1024 0 2\n2048 0 0\n4096 0 4\ninf 0 0\n",
    );
    assert_eq!(
        machine.output(&["latency", "rnbd0"]),
        "\
remote, read: 6 requests, half < 4.1 us, 99 % < 4.1 us
TIME      REQUESTS
< 1 us    2         ####################
< 2 us    0
< 4.1 us  4         ########################################
"
    );
    let found = machine.json(&["latency", "rnbd0"]);
    assert_eq!(
        found["histograms"][1]["buckets"][0],
        json!({"below_ns": 1024, "count": 2})
    );
    machine.output(&["latency", "rnbd0", "off"]);
    assert_eq!(machine.content(LATENCY), "off");
    machine.file(LATENCY, "off\nns_below wait_read\n1024 0\ninf 0\n");
    let text = machine.output(&["latency", "/dev/rnbd0"]);
    assert!(
        text.contains("no request") && text.contains("rnbdctl latency /dev/rnbd0 on"),
        "{text}"
    );
    // One that never counted.
    machine.file(LATENCY, "counting off\n");
    let text = machine.output(&["latency", "rnbd0"]);
    assert!(text.contains("rnbdctl latency rnbd0 on"), "{text}");
    machine.file(LATENCY, "nonsense");
    machine.run(&["latency", "rnbd0"]).fails(1, &[LATENCY]);
    machine.remove(LATENCY);
    machine.run(&["latency", "rnbd0"]).fails(5, &["debugfs"]);
    machine
        .run(&["latency", "rnbd0", "maybe"])
        .fails(2, &["maybe", "on"]);
}

#[test]
fn metrics_of_devices_and_paths() {
    let machine = Machine::client();
    let text = machine.output(&["metrics"]);

    for line in [
        "# TYPE rnbd_device_reads counter",
        "rnbd_device_reads_total{device=\"rnbd0\",session=\"s1\"} 5",
        "rnbd_device_open{device=\"rnbd0\",session=\"s1\"} 1",
        &format!("rnbd_path_up{{side=\"client\",session=\"s1\",path=\"{PATH}\"}} 1"),
    ] {
        assert!(text.lines().any(|it| it == line), "no {line} in {text}");
    }
    assert!(text.ends_with("# EOF\n"));
    // Nothing is mapped without a driver, which is no error for a collector.
    let run = Machine::new().run(&["metrics"]);

    assert_eq!((run.code(), run.text()), (0, "# EOF\n".into()));
    assert!(run.error().contains("modprobe"), "{}", run.error());
    // Values that a server does not have are left out.
    assert!(!Machine::server()
        .output(&["metrics"])
        .contains("rnbd_path_in_flight"));
}

fn healthy() -> Machine {
    let machine = Machine::client();
    let port = "/sys/class/infiniband/mlx5_0/ports/1";

    for module in ["rnbd_client", "rtrs"] {
        machine.file(&format!("/sys/module/{module}/refcnt"), "1\n");
        machine.file(&format!("/sys/module/{module}/version"), "0.1\n");
    }
    machine.file(&format!("{port}/state"), "4: ACTIVE\n");
    machine.file(
        &format!("{port}/gids/0"),
        "0000:0000:0000:0000:0000:ffff:0a00:0001\n",
    );
    machine.file(&format!("{port}/gid_attrs/ndevs/0"), "eth0\n");
    machine.file("/sys/class/net/eth0/mtu", "9000\n");
    machine.file("/usr/lib/udev/rules.d/60-rnbd.rules", "");
    machine
}

#[test]
fn doctor_finds_nothing() {
    let text = healthy().output(&["doctor"]);

    assert!(
        text.contains("mlx5_0/1 4: ACTIVE, eth0 with MTU 9000, 10.0.0.1"),
        "{text}"
    );
    assert!(!text.contains("note") && !text.contains("WRONG"), "{text}");
}

/// A machine with Secure Boot whose modules DKMS has built, and are not loaded.
fn locked_down() -> Machine {
    let machine = Machine::new();

    machine.file("/proc/sys/kernel/osrelease", "7.3.4+deb13-amd64\n");
    machine.file(
        "/sys/kernel/security/lockdown",
        "none [integrity] confidentiality\n",
    );
    machine.file(
        "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c",
        "\x06\0\0\0\x01",
    );
    machine.file("/lib/modules/7.3.4+deb13-amd64/updates/dkms/rtrs.ko.xz", "");
    machine.bytes("/var/lib/dkms/mok.pub", b"\x30\x82\x01\x00key of DKMS");
    machine
}

#[test]
fn doctor_knows_whether_secure_boot_trusts_the_modules() {
    let said = |change: &dyn Fn(&Machine)| {
        let machine = locked_down();

        change(&machine);
        let text = machine.run(&["doctor"]).text();
        let mut lines = text.lines().skip_while(|it| !it.contains("signatures:"));
        let verdict = lines.next().unwrap_or_default().to_owned();

        (verdict, lines.next().unwrap_or_default().to_owned())
    };
    let list = "/sys/firmware/efi/mok-variables/MokListRT";
    let (verdict, advice) = said(&|_| ());

    assert!(
        verdict.starts_with("WRONG") && verdict.contains("Secure Boot refuses"),
        "{verdict}"
    );
    assert!(
        advice.contains("`mokutil --import /var/lib/dkms/mok.pub`"),
        "{advice}"
    );
    let (verdict, _) = said(&|it| it.bytes(list, b"others\x30\x82\x01\x00key of somebody"));
    assert!(verdict.starts_with("WRONG"), "{verdict}");
    for list in [
        list,
        "/sys/firmware/efi/efivars/MokListRT1-605dab50-e046-4300-abb6-3dd810dd8b23",
        "/sys/firmware/efi/efivars/db-d719b2cb-3d3a-4596-a3bc-dad00e67656f",
    ] {
        let (verdict, _) = said(&|it| it.bytes(list, b"others\x30\x82\x01\x00key of DKMS, more"));

        assert!(
            verdict.starts_with("ok") && verdict.contains("is enrolled"),
            "{verdict}"
        );
    }
    let (verdict, _) = said(&|it| it.file("/sys/module/rtrs/refcnt", "0\n"));
    assert!(verdict.starts_with("ok"), "{verdict}");
    // The key is another one.
    let (_, advice) = said(&|it| {
        it.file(
            "/etc/dkms/framework.conf.d/key.conf",
            "mok_certificate=/root/key.der\n",
        );
        it.bytes("/root/key.der", b"\x30\x82\x01\x00key of mine");
    });
    assert!(advice.contains("--import /root/key.der"), "{advice}");
    let (verdict, _) = said(&|it| it.file("/var/lib/dkms/mok.pub", "-----BEGIN CERTIFICATE-----"));
    assert!(
        verdict.starts_with("note") && verdict.contains("DER"),
        "{verdict}"
    );
    // Modules that DKMS did not build.
    let (verdict, advice) =
        said(&|it| it.remove("/lib/modules/7.3.4+deb13-amd64/updates/dkms/rtrs.ko.xz"));
    assert!(verdict.starts_with("note"), "{verdict}");
    assert!(advice.contains("rnbd-dkms"), "{advice}");
    // Signatures are not required.
    let (verdict, _) = said(&|it| {
        it.file(
            "/sys/kernel/security/lockdown",
            "[none] integrity confidentiality\n",
        );
    });
    assert_eq!(verdict, "");
    let (verdict, _) = said(&|it| {
        it.remove("/sys/kernel/security/lockdown");
        it.file("/sys/module/module/parameters/sig_enforce", "Y\n");
    });
    assert!(verdict.contains("module.sig_enforce refuses"), "{verdict}");
}

#[test]
fn doctor_names_what_is_wrong() {
    let wrong = |change: &dyn Fn(&Machine), words: &[&str]| {
        let machine = healthy();

        change(&machine);
        let run = machine.run(&["doctor"]);
        run.fails(1, &["problems found: 1"]);
        for word in words {
            assert!(run.text().contains(word), "no {word} in {}", run.text());
        }
    };

    wrong(
        &|it| it.remove("/sys/module/rnbd_client/refcnt"),
        &["modprobe rnbd_client"],
    );
    wrong(
        &|it| it.file("/sys/module/rtrs/version", "0.2\n"),
        &["different versions: 0.1, 0.2"],
    );
    wrong(
        &|it| it.file("/sys/class/infiniband/mlx5_0/ports/1/state", "1: DOWN\n"),
        &["no port is active", "1: DOWN"],
    );
    wrong(
        &|it| it.file("/sys/block/rnbd0/rnbd/state", "closed\n"),
        &["rnbd0 is closed", "remap"],
    );
    wrong(
        &|it| it.file("/etc/rnbd/rnbdtab", "a b\n"),
        &["line 1", "rnbdtab"],
    );
    wrong(
        &|it| it.file("/etc/rnbd/rnbdtab", "a s1 - /dev/a\nb s2 target /dev/b\n"),
        &["b: path 'target' is no IP address", "rnbdtab"],
    );
    let machine = healthy();
    machine.client_path("s1", "ip:10.0.1.1@ip:10.0.1.2", "disconnected");
    machine.remove("/usr/lib/udev/rules.d/60-rnbd.rules");
    let checks = machine.json(&["doctor"])["checks"].clone();
    let notes = checks
        .as_array()
        .expect("checks")
        .iter()
        .filter(|it| it["verdict"] == "note");
    assert_eq!(notes.count(), 2);
    Machine::new()
        .run(&["doctor"])
        .fails(1, &["problems found: 2"]);
}

#[test]
fn doctor_tells_what_a_server_exports() {
    let rules = "/sys/class/rnbd-server/ctl/export_rules";
    let machine = healthy();
    let default = "/sys/module/rnbd_server/parameters/export_default";

    machine.file(default, "allow\n");
    for (loaded, words) in [
        ("# a comment\ndefault\n", "every client may open every"),
        ("# a comment\n", "no client may open any"),
        (
            "deny session=bad\nallow session=* device=/dev/ram0\n",
            "export rules: 2;",
        ),
    ] {
        machine.file(rules, loaded);
        let text = machine.output(&["doctor"]);
        assert!(text.contains(words), "{loaded}: {text}");
        assert!(!text.contains("start at boot"), "{text}");
    }
    machine.file(rules, "default\n");
    machine.file(default, "deny\n");
    let text = machine.output(&["doctor"]);
    assert!(text.contains("no client may open any"), "{text}");

    machine.file("/usr/lib/systemd/system/rnbd-server.service", "");
    let text = machine.output(&["doctor"]);
    assert!(text.contains("systemctl enable rnbd-server"), "{text}");
    let wants = "/etc/systemd/system/multi-user.target.wants";
    machine.file(&format!("{wants}/rnbd-server.service"), "");
    let text = machine.output(&["doctor"]);
    assert!(!text.contains("start at boot"), "{text}");

    machine.file("/etc/rnbd/exports", "allow everything\n");
    let run = machine.run(&["doctor"]);
    run.fails(1, &["problems found: 1"]);
    assert!(
        run.text().contains("/etc/rnbd/exports, line 1"),
        "{}",
        run.text()
    );
}
