//! How files come into the plugins folder: moved, written over in place byte by byte, swapped by a link as
//! Kubernetes does, and on file systems that tell nothing.

use std::{fs, io::Write as _, os::unix::fs::symlink, time::Duration};

use hookweir_store::{DeliveryState, Shown};
use hookweir_tests::{
    guests,
    house::House,
    load::{ECHO, Load},
};

fn house(sections: &str) -> House {
    let rate = "[plugins.hostile]\nrate = \"off\"\n";
    House::new(env!("CARGO_BIN_EXE_hookweir-under-test"), &format!("{sections}{rate}"))
}

fn version(number: u64) -> Vec<u8> {
    guests::with_section(guests::wasm("hostile"), number)
}

/// The version goes live, and nothing was said of half of it.
async fn goes_live(house: &House, log: usize, module: &[u8]) {
    let version = hookweir_event::Digest::of(module).short();
    house.until_log(log, &["plugin is live", &version]).await;
    assert!(!house.log()[log..].contains("failed to load"), "{}", &house.log()[log..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_moved_over_another_is_taken() {
    let house = house("");
    house.put_guest("hostile");
    let gateway = house.start().await;
    let elsewhere = house.config().with_file_name("built.wasm");
    for number in 0..3 {
        fs::write(&elsewhere, version(number)).unwrap();
        let log = house.log().len();
        fs::rename(&elsewhere, house.plugins().join("hostile.wasm")).unwrap();
        goes_live(&house, log, &version(number)).await;
    }
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_written_over_in_place_byte_by_byte_is_taken_whole() {
    let house = house("");
    house.put_guest("hostile");
    let gateway = house.start().await;
    let load = Load::start(&house, &[ECHO]);
    let module = version(1);
    let log = house.log().len();
    let path = house.plugins().join("hostile.wasm");
    let mut file = fs::File::options().write(true).truncate(true).open(path).unwrap();
    for (at, byte) in module.iter().enumerate() {
        file.write_all(&[*byte]).unwrap();
        // A writer at its own pace, so that looks fall into it; nothing is waited for here.
        if at % (module.len() / 100) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    drop(file);
    goes_live(&house, log, &module).await;
    assert!(!load.end().await.is_empty());
    let done = |shown: &Shown| shown.deliveries.iter().all(|d| d.state == DeliveryState::Done);
    assert!(house.settled().await.iter().all(done));
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_kubernetes_swaps_by_a_link_is_followed() {
    let house = house("");
    let plugins = house.plugins();
    let publish = |number: u64| {
        let folder = format!("..2026_{number}");
        fs::create_dir(plugins.join(&folder)).unwrap();
        fs::write(plugins.join(&folder).join("hostile.wasm"), version(number)).unwrap();
        symlink(&folder, plugins.join("..data_tmp")).unwrap();
        fs::rename(plugins.join("..data_tmp"), plugins.join("..data")).unwrap();
    };
    publish(1);
    symlink("..data/hostile.wasm", plugins.join("hostile.wasm")).unwrap();
    let gateway = house.start().await;
    goes_live(&house, 0, &version(1)).await;
    for number in 2..4 {
        let log = house.log().len();
        publish(number);
        fs::remove_dir_all(plugins.join(format!("..2026_{}", number - 1))).unwrap();
        goes_live(&house, log, &version(number)).await;
    }
    assert!(gateway.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_tells_nothing_is_looked_at_regularly() {
    let host = "[host]\nwatch = \"off\"\nrescan = \"200ms\"\n";
    let house = house(host);
    house.put_guest("hostile");
    let gateway = house.start().await;
    let open = fs::read_dir(format!("/proc/{}/fd", gateway.pid())).unwrap();
    let open: Vec<_> = open.filter_map(|fd| fs::read_link(fd.unwrap().path()).ok()).collect();
    assert!(
        open.len() > 3 && !open.iter().any(|fd| fd.ends_with("anon_inode:inotify")),
        "{open:?}"
    );
    let log = house.log().len();
    house.put("hostile", &version(1));
    goes_live(&house, log, &version(1)).await;
    // The config is followed by the same looks.
    house.write_config(host);
    house.until_log(log, &["config reloaded"]).await;
    assert!(gateway.stop().await.success());
}
