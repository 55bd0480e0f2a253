//! The project's nginx configuration, in front of gateways of a test.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::server::Server;
use crate::topology::free_address;

const CONFIGURATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../nginx");

/// Starts nginx on a free port, with a configuration that differs from the shipped one in addresses
/// alone.
pub(crate) fn start(folder: &Path, gateways: &[&str]) -> Server {
    let (door, status) = (free_address(), free_address());
    let place = folder.join("nginx");
    fs::create_dir_all(&place).unwrap();
    for entry in fs::read_dir(CONFIGURATION).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "conf") {
            let text = fs::read_to_string(&path).unwrap();
            let text = text
                .replace("listen 8000;", &format!("listen {door};"))
                .replace("listen 127.0.0.1:8081;", &format!("listen {status};"));
            fs::write(place.join(path.file_name().unwrap()), text).unwrap();
        }
    }
    let list: String = gateways
        .iter()
        .map(|gateway| format!("    server {gateway} max_fails=1 fail_timeout=2s;\n"))
        .collect();
    let upstream = format!(
        "upstream gateway {{\n    zone gateway 256k;\n    least_conn;\n{list}    keepalive 64;\n}}\n"
    );
    fs::write(place.join("upstream.conf"), upstream).unwrap();
    // It is where only root's shell looks for programs.
    let mut command = Command::new("sh");
    command.args(["-c", r#"PATH="$PATH:/usr/sbin" exec nginx "$@""#, "nginx"]);
    command.arg("-p").arg(&place).arg("-c").arg(place.join("nginx.conf"));
    // Its workers must reach the folder, which belongs to whoever runs the tests.
    let whoami = Command::new("id").arg("-u").output().unwrap();
    let root = String::from_utf8_lossy(&whoami.stdout).trim() == "0";
    command.arg("-g").arg(if root { "daemon off; user root;" } else { "daemon off;" });
    Server::spawn("nginx", command, "QUIT", folder, format!("http://{door}"))
}
