use serde_json::Value;

use crate::yaml::yaml;

/// A Deployment of one container; times are in seconds.
#[derive(Debug)]
pub(crate) struct Manifest {
    pub(crate) path: &'static str,
    pub(crate) replicas: usize,
    pub(crate) image: String,
    pub(crate) grace: u64,
    pub(crate) pre_stop: u64,
    pub(crate) delay: u64,
    /// Where it serves.
    pub(crate) port: u16,
    pub(crate) startup: Probe,
    pub(crate) readiness: Probe,
    pub(crate) liveness: Probe,
    deployment: Value,
}

/// A question over HTTP.
#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) port: u16,
    pub(crate) path: String,
}

impl Manifest {
    /// None, with the reason printed, where nobody reads YAML.
    pub(crate) fn read(path: &'static str) -> Option<Self> {
        let deployment = yaml(path)?.swap_remove(0);
        let pod = &deployment["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        let seconds = |value: &Value| value.as_u64().unwrap_or(0);
        Some(Self {
            path,
            replicas: usize::try_from(seconds(&deployment["spec"]["replicas"])).unwrap(),
            image: container["image"].as_str().unwrap().to_owned(),
            grace: seconds(&pod["terminationGracePeriodSeconds"]),
            pre_stop: seconds(&container["lifecycle"]["preStop"]["sleep"]["seconds"]),
            delay: variable(container, "HTTP_DRAIN_DELAY"),
            port: u16::try_from(seconds(&container["ports"][0]["containerPort"])).unwrap(),
            startup: Probe::of(&container["startupProbe"]),
            readiness: Probe::of(&container["readinessProbe"]),
            liveness: Probe::of(&container["livenessProbe"]),
            deployment,
        })
    }

    /// The Deployment for Podman. It would publish ports, and all replicas the same; the pods have a loopback and nothing
    /// else. It would ask the probes with a curl inside of the image, and a timer of systemd's.
    pub(crate) fn for_podman(&self) -> String {
        let mut deployment = self.deployment.clone();
        let container = &mut deployment["spec"]["template"]["spec"]["containers"][0];
        let container = container.as_object_mut().unwrap();
        for field in ["ports", "startupProbe", "readinessProbe", "livenessProbe"] {
            container.remove(field);
        }
        deployment.to_string()
    }
}

impl Probe {
    fn of(probe: &Value) -> Self {
        let get = &probe["httpGet"];
        Self {
            port: u16::try_from(get["port"].as_u64().unwrap()).unwrap(),
            path: get["path"].as_str().unwrap().to_owned(),
        }
    }
}

/// A number in the container's environment; 0 if it is not there.
fn variable(container: &Value, name: &str) -> u64 {
    let mut variables = container["env"].as_array().into_iter().flatten();
    let found = variables.find(|variable| variable["name"] == name);
    found.map_or(0, |variable| {
        variable["value"].as_str().unwrap().parse().unwrap()
    })
}
