//! lapin as it is, with smol's thread, against a real RabbitMQ.

use std::path::Path;

use asyncoro::spawn;
use futures_util::{StreamExt, future::join_all};
use lapin::{
    BasicProperties, Confirmation, Connection, ConnectionProperties,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions,
        QueueDeclareOptions,
    },
    types::FieldTable,
};
use rustix::process::Signal;

use crate::{
    pairs::run,
    servers::{Folder, Server, bound, free_port, program, start_on_free_port},
};

/// The script itself: that on the path is Debian's, which changes the user and the folder.
const RABBITMQ: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

struct Rabbit {
    /// They end in this order.
    _server: Server,
    _names: Server,
    _folder: Folder,
    port: u16,
}

impl Rabbit {
    fn start() -> Option<Rabbit> {
        let names = program("epmd", &[])?;
        let rabbitmq = program(RABBITMQ, &[])?;
        Some(start_on_free_port(|port| Rabbit::start_on(port, &names, &rabbitmq)))
    }

    /// Starts a node, and its own server of names, which would stay behind otherwise.
    fn start_on(port: u16, names: &Path, rabbitmq: &Path) -> Result<Rabbit, String> {
        let folder = Folder::make("rabbitmq");
        let names_port = free_port().to_string();
        let mut command = bound("KILL", None, names);
        command.args(["-d", "-port", &names_port, "-address", "127.0.0.1"]);
        let names = Server::start(command, "epmd running", true, Signal::KILL)?;

        let mut command = bound("TERM", None, rabbitmq);
        command.current_dir(folder.path()).env("HOME", folder.path());
        command.env("ERL_EPMD_PORT", names_port).env("ERL_EPMD_ADDRESS", "127.0.0.1");
        command.env("RABBITMQ_NODENAME", "asyncoro@localhost");
        command.env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1");
        command.env("RABBITMQ_NODE_PORT", port.to_string());
        command.env("RABBITMQ_DIST_PORT", free_port().to_string());
        command.env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", ONLY_LOOPBACK);
        command.env("RABBITMQ_LOGS", "-").env("RABBITMQ_CONF_ENV_FILE", "/dev/null");
        for (variable, name) in FILES {
            command.env(variable, folder.join(name));
        }
        let server = Server::start(command, "Server startup complete", false, Signal::TERM)?;
        Ok(Rabbit { _server: server, _names: names, _folder: folder, port })
    }
}

/// Where nodes of Erlang listen for each other.
const ONLY_LOOPBACK: &str = "-kernel inet_dist_use_interface {127,0,0,1}";

const FILES: [(&str, &str); 5] = [
    ("RABBITMQ_MNESIA_BASE", "data"),
    ("RABBITMQ_LOG_BASE", "log"),
    ("RABBITMQ_PID_FILE", "pid"),
    ("RABBITMQ_CONFIG_FILE", "config"),
    ("RABBITMQ_ENABLED_PLUGINS_FILE", "plugins"),
];

#[test]
fn lapin_works_as_it_is_with_the_thread_of_smol() {
    let Some(server) = Rabbit::start() else { return };
    run(async {
        let url = format!("amqp://127.0.0.1:{}/%2f", server.port);
        let connection = Connection::connect(&url, ConnectionProperties::default()).await.unwrap();
        let publisher = connection.create_channel().await.unwrap();
        publisher.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let (options, table) = (QueueDeclareOptions::default(), FieldTable::default());
        channel.queue_declare("jobs".into(), options, table).await.unwrap();
        let (options, table) = (BasicConsumeOptions::default(), FieldTable::default());
        let consume = channel.basic_consume("jobs".into(), "worker".into(), options, table);
        let mut jobs = consume.await.unwrap();

        let worker = spawn(async move {
            for number in 0..1000 {
                let job = jobs.next().await.unwrap().unwrap();
                assert_eq!(job.data, format!("{number}").into_bytes());
                job.ack(BasicAckOptions::default()).await.unwrap();
            }
        });
        let mut confirmations = Vec::new();
        for number in 0..1000 {
            let options = BasicPublishOptions::default();
            let job = number.to_string();
            let properties = BasicProperties::default();
            let publish = publisher.basic_publish(
                "".into(),
                "jobs".into(),
                options,
                job.as_bytes(),
                properties,
            );
            confirmations.push(publish.await.unwrap());
        }
        for confirmation in join_all(confirmations).await {
            assert_eq!(confirmation.unwrap(), Confirmation::Ack(None));
        }
        worker.await.unwrap();

        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare("jobs".into(), options, FieldTable::default()).await;
        assert_eq!(queue.unwrap().message_count(), 0);
        connection.close(200, "".into()).await.unwrap();
    });
}
