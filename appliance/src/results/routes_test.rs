//! The pages and the API of results, on the real site with two scans in it.

use axum::http::{Method, StatusCode};
use portolan_scanner::wire::{PortRecord, Reason, Results, Sample};
use serde_json::{Value, json};

use crate::audit::{Actor, Entry};
use crate::ingest::frame::Proven;
use crate::results::fixture::{
    JobOf, block, frame_signed_by, host, hosts, public, results, says, shows, uuid,
};
use crate::test::TestSite;

/// Scan 1 and scan 6 of one template, from vantage 2 ("=plant") and, the second only, vantage 5.
async fn site() -> TestSite {
    let site = TestSite::new().await;
    site.app
        .store
        .change(&Actor::system("test"), |tx| {
            tx.execute("INSERT INTO frozen_scope (sha256, targets, ports) VALUES ('aa', '10.0.0.0/24', '22,80,443,8000-8009')", [])?;
            for (scan, state, at) in [(uuid(1), "completed", 1_000_000), (uuid(6), "partial", 2_000_000)] {
                tx.execute(
                    "INSERT INTO scan (id, template, template_name, frozen_scope, preset, rate, host_rate, timeout_ms,
                       retries, seed, hosts, probes, state, by_id, by_name, created_at, ended_at)
                     VALUES (?1, ?2, 'Nightly', 'aa', 'normal', 1, 1, 1, 0, '00000000000000000000000000000000', 256,
                       3328, ?3, '', 'ada', ?4, ?4)",
                    rusqlite::params![scan.to_string(), uuid(7).to_string(), state, at],
                )?;
            }
            for (scan, scanner, vantage, name) in [(1, 3, 2, "=plant"), (6, 3, 2, "=plant"), (6, 4, 5, "lab")] {
                let ids = [scan, scanner, vantage].map(|n| uuid(n).to_string());
                tx.execute(
                    "INSERT INTO scan_scanner (scan, scanner, vantage, vantage_name) VALUES (?, ?, ?, ?)",
                    rusqlite::params![ids[0], ids[1], ids[2], name],
                )?;
            }
            Ok((Entry::event("test", &json!({})), ()))
        })
        .await
        .unwrap();
    let frames = frames();
    site.app.results.ask(move |store| store.count(&frames)).await.unwrap();
    site
}

fn frames() -> Vec<Proven> {
    let first = JobOf::default().frame();
    let second = JobOf { scan: 6, ..JobOf::default() }.frame();
    let lab = JobOf { scan: 6, vantage: 5, scanner: 4, targets: "10.0.0.7", ..JobOf::default() }.frame();
    vec![
        block(
            &first,
            0,
            vec![
                hosts("10.0.0.0", "10.0.0.2", Reason::NoAnswer),
                host("10.0.0.3", &[22, 443]),
                hosts("10.0.0.4", "10.0.0.255", Reason::HostUnreachable),
            ],
        ),
        block(
            &second,
            0,
            vec![
                hosts("10.0.0.0", "10.0.0.2", Reason::Cancelled),
                host("10.0.0.3", &[22, 80]),
                hosts("10.0.0.4", "10.0.0.255", Reason::HostUnreachable),
            ],
        ),
        block(&lab, 0, vec![host("10.0.0.7", &[80])]),
    ]
}

fn pair() -> String {
    format!("a={}&b={}", uuid(1), uuid(6))
}

#[tokio::test]
async fn hosts_are_paged_and_filtered_and_say_how_many() {
    let site = site().await;
    let path = format!("/api/v1/scans/{}/hosts", uuid(6));
    let all = site.get(&path).await.json();
    assert_eq!(all["total"], 4);
    let addresses: Vec<&str> =
        all["items"].as_array().unwrap().iter().map(|it| it["hosts"].as_str().unwrap()).collect();
    assert_eq!(addresses, ["10.0.0.0-10.0.0.2", "10.0.0.3", "10.0.0.4-10.0.0.255", "10.0.0.7"]);
    assert_eq!(
        all["items"][1]["open"][1],
        json!({ "port": 80, "reason": "syn-ack", "rtt_us": 80, "hint": null })
    );
    let others = &all["items"][1]["others"];
    assert_eq!(
        *others,
        json!([{ "state": "closed", "reason": "refused", "ports": "443,8000-8009", "count": 11 }])
    );
    let (mut cursor, mut seen) = (Value::Null, 0);
    loop {
        let next = cursor.as_str().map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
        let page = site.get(&format!("{path}?limit=3{next}")).await.json();
        seen += page["items"].as_array().unwrap().len();
        cursor = page["next"].clone();
        if cursor.is_null() {
            break;
        }
    }
    assert_eq!(seen, 4);
    let count =
        async |query: &str| site.get(&format!("{path}?{query}")).await.json()["total"].as_u64().unwrap();
    assert_eq!(count("state=open").await, 2);
    assert_eq!(count(&format!("state=open&vantage={}", uuid(5))).await, 1);
    assert_eq!(count("subnet=10.0.0.0/30&state=not-probed").await, 1);
    let clipped = site.get(&format!("{path}?subnet=10.0.0.2-10.0.0.5&state=unreachable")).await.json();
    let clipped = &clipped["items"][0];
    assert_eq!((clipped["hosts"].clone(), clipped["count"].clone()), (json!("10.0.0.4-10.0.0.5"), json!(2)));
    assert_eq!(count("port=80&state=closed").await, 0);
    assert_eq!((count("reason=cancelled").await, count("reason=distress").await), (1, 0));
    assert_eq!(count("port=81").await, 0);
}

#[tokio::test]
async fn more_files_at_once_than_there_are_threads_for_are_refused_with_a_time() {
    let site = site().await;
    let path = format!("/scans/{}/hosts.csv", uuid(1));
    assert_eq!(site.get(&path).await.status, StatusCode::OK);
    // Waits until the thread of the first is done with it.
    let held = site.site.files.clone().acquire_many_owned(8).await.unwrap();
    let answer = site.get(&path).await;
    assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "60"));
    drop(held);
    assert_eq!(site.get(&path).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_scan_before_is_found_however_many_others_there_were_since() {
    let site = site().await;
    let many = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 250)
        INSERT INTO scan (id, template, template_name, frozen_scope, preset, rate, host_rate, timeout_ms, retries, seed,
          hosts, probes, state, by_id, by_name, created_at, ended_at)
        SELECT printf('00000000-0000-7000-8000-%012d', i), '00000000-0000-7000-8000-000000000000', 'Other', 'aa', 'normal',
          1, 1, 1, 0, '00000000000000000000000000000000', 1, 1, 'completed', '', 'ada', 1000000 + i, 1000000 + i FROM n";
    let change = |tx: &rusqlite::Transaction| {
        tx.execute(many, [])?;
        Ok((Entry::event("test", &json!({})), ()))
    };
    site.app.store.change(&Actor::system("test"), change).await.unwrap();
    let found = site.get(&format!("/diff?b={}", uuid(6))).await.json();
    assert_eq!(found["a"]["id"], json!(uuid(1)));
    assert_eq!(
        site.get(&format!("/diff?b={}", uuid(1))).await.json()["a"],
        Value::Null,
        "nothing was before it"
    );
}

#[tokio::test]
async fn bad_filters_are_named_one_by_one() {
    let site = site().await;
    let path = format!("/api/v1/scans/{}/hosts", uuid(1));
    for (query, field) in [
        ("subnet=10.0.0.0/33", "subnet"),
        ("subnet=10.0.0.1/24", "subnet"),
        ("subnet=nowhere", "subnet"),
        ("port=0", "port"),
        ("port=70000", "port"),
        ("port=http", "port"),
        ("state=ajar", "state"),
        ("reason=bored", "reason"),
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("cursor=x", "cursor"),
        ("colour=red", "colour"),
    ] {
        let answer = site.get(&format!("{path}?{query}")).await;
        assert_eq!(
            (answer.status, answer.fields()),
            (StatusCode::UNPROCESSABLE_ENTITY, vec![field.to_owned()]),
            "{query}"
        );
    }
    let elsewhere = site.get("/api/v1/audit?limit=1").await.json()["next"].as_str().unwrap().to_owned();
    let answer = site.get(&format!("{path}?cursor={elsewhere}")).await;
    assert_eq!(answer.fields(), ["cursor"], "a cursor from another list");
    assert_eq!(site.get(&format!("/api/v1/scans/{}/hosts", uuid(99))).await.status, StatusCode::NOT_FOUND);
    assert_eq!(site.get("/api/v1/hosts/nowhere").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn one_host_in_every_scan_and_in_one() {
    let site = site().await;
    let all = site.get("/api/v1/hosts/10.0.0.7").await.json();
    assert_eq!(all["items"].as_array().unwrap().len(), 3);
    assert_eq!(all["items"][0]["scan"]["name"], "Nightly");
    let one = site.get(&format!("/api/v1/scans/{}/hosts/10.0.0.7", uuid(1))).await.json();
    assert_eq!(one["items"].as_array().unwrap().len(), 1);
    assert_eq!(one["items"][0]["vantage"]["name"], "=plant");
    let first = site.get("/api/v1/hosts/10.0.0.7?limit=2").await.json();
    assert_eq!((first["items"].as_array().unwrap().len(), &first["total"]), (2, &json!(3)));
    let cursor = first["next"].as_str().unwrap();
    let rest = site.get(&format!("/api/v1/hosts/10.0.0.7?limit=2&cursor={cursor}")).await.json();
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["next"]), (1, &Value::Null));
    assert_eq!(site.get("/api/v1/hosts/10.0.0.7?cursor=x").await.fields(), ["cursor"]);
    assert_eq!(site.get("/api/v1/hosts/192.0.2.1").await.json()["items"], json!([]));
}

#[tokio::test]
async fn a_diff_counts_exactly_and_calls_nothing_closed_that_was_not_looked_at() {
    let site = site().await;
    let diff = site.get(&format!("/api/v1/diff?{}", pair())).await.json();
    let counts = &diff["counts"];
    let of = |kind: &str| counts[kind].as_u64().unwrap();
    assert_eq!((of("opened"), of("closed"), of("changed")), (1, 1, 0));
    assert_eq!((of("only_before"), of("only_after"), of("not_comparable")), (39, 13, 52));
    assert_eq!(of("same"), 252 * 13 + 11);
    let line = |line: &Value| {
        let word = |field: &str| line[field].as_str().unwrap_or("-").to_owned();
        format!(
            "{} {} {} {}>{}",
            line["vantage"]["name"],
            word("hosts"),
            word("ports"),
            word("before"),
            word("after")
        )
    };
    assert_eq!(line(&diff["opened"][0]), "\"=plant\" 10.0.0.3 80 closed>open");
    assert_eq!(line(&diff["closed"][0]), "\"=plant\" 10.0.0.3 443 open>closed");
    assert_eq!(
        line(&diff["not_comparable"][0]),
        "\"=plant\" 10.0.0.0-10.0.0.2 22,80,443,8000-8009 filtered>not-probed"
    );
    let only = site.get(&format!("/api/v1/diff?{}&kind=not-comparable&limit=1", pair())).await.json();
    assert_eq!((only["opened"].clone(), only["not_comparable"].as_array().unwrap().len()), (json!([]), 1));
    assert_eq!(
        (only["counts"]["opened"].clone(), only["more"]["not_comparable"].clone()),
        (json!(1), json!(true))
    );
    assert_eq!(
        site.get(&format!("/api/v1/diff?a={}&b={}", uuid(1), uuid(99))).await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(site.get(&format!("/api/v1/diff?{}&limit=10001", pair())).await.fields(), ["limit"]);
    assert_eq!(site.get("/api/v1/diff?a=x").await.fields(), ["a"]);
}

#[tokio::test]
async fn the_csv_has_every_line_and_no_formula() {
    let site = site().await;
    let file = site.get(&format!("/diff.csv?{}", pair())).await;
    assert_eq!(file.header("content-type"), "text/csv; charset=utf-8");
    let lines: Vec<&str> = file.text.split("\r\n").collect();
    assert_eq!(
        lines[0],
        "kind,vantage,first_address,last_address,hosts,ports,probes,before,after,recall_before_percent,recall_after_percent"
    );
    assert_eq!(
        lines[1],
        "not-comparable,\"'=plant\",10.0.0.0,10.0.0.2,3,\"22,80,443,8000-8009\",39,filtered,not-probed,,"
    );
    assert_eq!(lines[2], "opened,\"'=plant\",10.0.0.3,10.0.0.3,1,80,1,closed,open,,");
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("not-comparable,lab,10.0.0.7,")
                && line.ends_with("not-covered,open,,"))
    );
    let negotiated = site.send(Method::GET, &format!("/diff?{}", pair()), "text/csv", None).await;
    assert_eq!(negotiated.text, file.text);
    assert_eq!(site.get("/diff.csv").await.fields(), ["a"]);
}

/// Scan 6 seen from vantage 9 as well: hosts that are odd, ports that speak, and a sample.
async fn odd(site: &TestSite) {
    let job = JobOf { scan: 6, vantage: 9, targets: "10.0.1.0/30", ..JobOf::default() }.frame();
    let server = says(host("10.0.1.0", &[22, 443]), 22, b"=SSH-2.0 <script>alert(1)</script>\r\n");
    let day = 86_400_000_000;
    let server = shows(
        server,
        443,
        "CN=plc",
        &["plc.example", "10.0.1.0"],
        site.app.clock.now().micros() + 5 * day + 7,
    );
    let mut spared = hosts("10.0.1.2", "10.0.1.2", Reason::Refused);
    spared.exceptions.push(PortRecord { first: 80, last: 80, reason: Reason::PortUnreachable, rtt_us: 0 });
    spared.exceptions.push(PortRecord { first: 8000, last: 8009, reason: Reason::Distress, rtt_us: 0 });
    let seen = vec![
        server,
        hosts("10.0.1.1", "10.0.1.1", Reason::OpenAll),
        spared,
        hosts("10.0.1.3", "10.0.1.3", Reason::NoAnswer),
    ];
    let sample = Sample { probed: 40, answered: 30, missed: 15 };
    let said = Results { sample, ..results(&job, 0, 0, true, seen) };
    let frames = [frame_signed_by(3, &said).prove(&public(3), &job).unwrap()];
    site.app.results.ask(move |store| store.count(&frames)).await.unwrap();
    let ids = [6, 8, 9].map(|n| uuid(n).to_string());
    let add = move |tx: &rusqlite::Transaction| {
        let sql = "INSERT INTO scan_scanner (scan, scanner, vantage, vantage_name) VALUES (?, ?, ?, 'hold')";
        tx.execute(sql, ids)?;
        Ok((Entry::event("test", &json!({})), ()))
    };
    site.app.store.change(&Actor::system("test"), add).await.unwrap();
}

#[tokio::test]
async fn what_ports_say_is_text_and_certificates_count_down() {
    let site = site().await;
    odd(&site).await;
    let host = site.get("/api/v1/hosts/10.0.1.0").await.json();
    let open = &host["items"][0]["open"];
    assert_eq!(open[0]["hint"]["says"], "=SSH-2.0 <script>alert(1)</script>\\x0d\\x0a");
    let leaf = &open[1]["hint"]["certificate"];
    assert_eq!((&leaf["subject"], &leaf["names"]), (&json!("CN=plc"), &json!(["plc.example", "10.0.1.0"])));
    assert_eq!(leaf["expires_in_days"], 5);
    let page = site.page("/hosts/10.0.1.0").await;
    assert!(
        page.text.contains("&lt;script&gt;alert(1)") && !page.text.contains("<script>alert"),
        "{}",
        page.text
    );
    assert!(page.text.contains("expires in 5 days"), "{}", page.text);
    let found = site.get("/api/v1/search?q=plc.EXAMPLE").await.json();
    assert_eq!(found["groups"][0]["title"], "Service hints");
    assert_eq!(found["groups"][0]["items"][0]["title"], "10.0.1.0 port 443");
}

#[tokio::test]
async fn odd_hosts_and_a_low_recall_are_said_in_words() {
    let site = site().await;
    odd(&site).await;
    let path = format!("/scans/{}/hosts", uuid(6));
    let page = site.page(&format!("{path}?vantage={}", uuid(9))).await.text;
    for word in ["Open on every port", "Left alone: distress", "Low recall ≥", "Not measured"] {
        assert!(page.contains(word), "{word}: {page}");
    }
    let all = site.get(&format!("/api/v1{path}")).await.json();
    let recall = all["recall"].as_array().unwrap();
    let of = |name: &str| recall.iter().find(|one| one["vantage"]["name"] == name).unwrap()["recall"].clone();
    assert_eq!((of("hold")["low"].clone(), of("hold")["missed"].clone()), (json!(true), json!(15)));
    assert_eq!(of("lab")["at_least_percent"], json!(null));
    let diff = site.get(&format!("/api/v1/diff?{}", pair())).await.json();
    let hold =
        diff["recall"].as_array().unwrap().iter().find(|one| one["vantage"]["name"] == "hold").unwrap();
    assert_eq!((&hold["before"]["probed"], &hold["after"]["probed"]), (&json!(0), &json!(40)));
    assert!(site.page(&format!("/diff?{}", pair())).await.text.contains("15 of 30 answers"));
}

#[tokio::test]
async fn the_hosts_as_a_file_have_every_state_and_hint_and_no_formula() {
    let site = site().await;
    odd(&site).await;
    let file = site.get(&format!("/scans/{}/hosts.csv?vantage={}", uuid(6), uuid(9))).await;
    assert_eq!(file.header("content-type"), "text/csv; charset=utf-8");
    assert!(file.header("content-disposition").contains("hosts-"));
    let lines: Vec<&str> = file.text.trim_end().split("\r\n").collect();
    assert!(
        lines[0]
            .starts_with("vantage,first_address,last_address,hosts,state,reason,ports,probes,rtt_us,seen_at")
    );
    let cells = lines[0].split(',').count();
    assert_eq!((cells, lines.len()), (16, 1 + 3 + 1 + 3 + 1), "{lines:#?}");
    assert!(lines[1].starts_with("hold,10.0.1.0,10.0.1.0,1,open,syn-ack,22,1,22,"), "{}", lines[1]);
    assert!(lines[1].contains(",\"'=SSH-2.0 <script>"), "{}", lines[1]);
    assert!(lines[2].contains(",CN=plc,plc.example 10.0.1.0,"), "{}", lines[2]);
    assert!(lines[4].contains(",not-probed,open-all,\"22,80,443,8000-8009\",13,,"), "{}", lines[4]);
    assert!(lines.iter().any(|line| line.contains(",unreachable,port-unreachable,80,1,,")));
    let some = site.get(&format!("/scans/{}/hosts.csv?reason=open-all", uuid(6))).await;
    assert_eq!(some.text.trim_end().split("\r\n").count(), 2);
    assert_eq!(site.get(&format!("/scans/{}/hosts.csv?port=0", uuid(6))).await.fields(), ["port"]);
}

#[tokio::test]
async fn the_pages_render_from_what_there_is() {
    let site = site().await;
    for (path, word) in [
        (format!("/scans/{}/hosts", uuid(6)), "10.0.0.3"),
        (format!("/scans/{}/hosts?state=open&port=22&subnet=10.0.0.0/8", uuid(6)), "10.0.0.3"),
        (format!("/scans/{}/hosts?port=81", uuid(6)), "o"),
        ("/hosts/10.0.0.3".to_owned(), "Nightly"),
        ("/hosts/2001:db8::1".to_owned(), "Never seen"),
        (format!("/scans/{}/hosts/10.0.0.3", uuid(1)), "In every scan"),
        ("/diff".to_owned(), "Choose two scans"),
        (format!("/diff?a={}", uuid(1)), "Choose two scans"),
        (format!("/diff?{}", pair()), "10.0.0.0-10.0.0.2"),
    ] {
        let page = site.page(&path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}: {}", page.text);
        assert!(page.text.contains(word), "{path}");
    }
}
