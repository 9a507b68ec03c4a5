//! What a platform wants that nobody has told us. It is said in the log, and never done unasked: a guess that is wrong would be
//! paid for in every stop.

use super::given::{Given, Source, Vars};

/// In every container of a pod.
const KUBERNETES: &str = "KUBERNETES_SERVICE_HOST";

/// One line for each.
pub(super) fn all(vars: &Vars, given: &[Given]) -> Vec<String> {
    let on_kubernetes = vars.get(KUBERNETES.as_ref() as &std::ffi::OsStr);
    let on_kubernetes = on_kubernetes.is_some_and(|value| !value.is_empty());
    let delays = given
        .iter()
        .any(|given| given.row.name == "HTTP_DRAIN_DELAY" && given.source != Source::Default);
    let advice = "this is Kubernetes, which goes on routing to a pod for some seconds after it has told it to stop: set \
                  HTTP_DRAIN_DELAY=5, or to 0 if a preStop hook waits";
    let applies = on_kubernetes && !delays;
    applies.then(|| advice.to_owned()).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::{super::given, *};

    fn advice(set: &[(&str, &str)]) -> usize {
        let set = set
            .iter()
            .map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let vars: Vars = set.collect();
        all(&vars, &given::all(&vars).unwrap()).len()
    }

    #[test]
    fn kubernetes_is_told_of_the_delay_unless_somebody_has_decided_about_it() {
        let pod = (KUBERNETES, "10.0.0.1");
        assert_eq!(advice(&[]), 0);
        assert_eq!(advice(&[("HTTP_DRAIN_DELAY", "0")]), 0);
        assert_eq!(advice(&[pod]), 1);
        assert_eq!(advice(&[(KUBERNETES, "")]), 0);
        assert_eq!(advice(&[pod, ("HTTP_DRAIN_DELAY", "")]), 1);
        for name in ["HTTP_DRAIN_DELAY", "THRUSTER_HTTP_DRAIN_DELAY"] {
            assert_eq!(advice(&[pod, (name, "5")]), 0);
            assert_eq!(advice(&[pod, (name, "0")]), 0);
        }
    }
}
