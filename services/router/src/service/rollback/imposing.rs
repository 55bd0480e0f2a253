//! How a route that one router decided on comes into force in all.

use std::sync::Arc;
use std::time::Duration;

use contracts::router::{Acknowledged, Imposed};
use contracts::{ApiError, Call};
use domain::{Role, Route};

use crate::service::Service;

/// How often a route is put above what another router has, while no store can decide.
const ATTEMPTS: u32 = 5;
/// How this router is called where others do not list it.
const THIS: &str = "this router";

/// Which routers have a route in force.
pub(in crate::service) struct Everywhere {
    pub(in crate::service) acknowledged: Vec<String>,
    pub(in crate::service) unconfirmed: Vec<String>,
    /// The highest generation that a router has in force that did not take it.
    above: Option<u64>,
}

impl Service {
    /// Takes over a route.
    pub(in crate::service) async fn take_over(
        &self,
        call: Call,
        imposed: Imposed,
    ) -> Result<Acknowledged, ApiError> {
        call.require(&[Role::Service])?;
        let Imposed { route, stored } = imposed;
        let route = Arc::new(route);
        if !self.table.knows(&route) {
            // A version younger than what this router last read.
            tokio::time::timeout(call.deadline.left() / 2, self.refresh()).await.ok();
        }
        let in_force = self.put_here(&route);
        // Without the store, a newer one is not known to come after it.
        let taken = if stored {
            in_force.generation > route.generation || in_force == route
        } else {
            in_force == route
        };
        if taken && stored {
            self.back.pending.forget(&route.model, route.generation).await;
        } else if taken {
            self.back.pending.keep(&route).await;
        }
        self.back.wake.notify_one();
        Ok(Acknowledged { router: self.id.clone(), generation: in_force.generation, taken })
    }

    /// Puts a route in force in this router, unless it has one as new. Returns the one in force.
    pub(super) fn put_here(&self, route: &Arc<Route>) -> Arc<Route> {
        let in_force = self.table.put_route(route);
        if in_force == *route {
            self.back.pasts.add(route);
        }
        in_force
    }

    /// Puts a route in force here and in every other router that answers. What the store has not
    /// got is kept in a file, and put above whatever another router has in force.
    pub(in crate::service) async fn put_everywhere(
        &self,
        route: Arc<Route>,
        stored: bool,
    ) -> (Arc<Route>, Everywhere) {
        let mut route = route;
        for _ in 1..ATTEMPTS {
            self.put_here(&route);
            let kept = async {
                if !stored {
                    self.back.pending.keep(&route).await;
                }
            };
            let (imposed, ()) = tokio::join!(self.impose_on_others(&route, stored), kept);
            match imposed.above {
                Some(above) if !stored => {
                    let generation = above.max(route.generation) + 1;
                    route = Arc::new(Route { generation, ..(*route).clone() });
                }
                _ => return (route, imposed),
            }
        }
        self.put_here(&route);
        if !stored {
            self.back.pending.keep(&route).await;
        }
        let imposed = self.impose_on_others(&route, stored).await;
        (route, imposed)
    }

    /// Has the others take a route over, and waits for each as long as for any other change.
    pub(super) async fn impose_on_others(&self, route: &Arc<Route>, stored: bool) -> Everywhere {
        let limit = Duration::from_millis(self.settings.push_timeout_ms);
        let asked = self.ask_each(limit, |router, call| {
            let imposed = Imposed { route: (**route).clone(), stored };
            async move { router.impose(call, imposed).await }
        });
        let (mut acknowledged, mut unconfirmed) = (Vec::new(), Vec::new());
        let (mut above, mut itself) = (None, false);
        for (address, answer) in asked.await {
            match answer {
                Ok(answer) if answer.taken => {
                    itself |= answer.router == self.id;
                    acknowledged.push(address);
                }
                Ok(answer) => {
                    above = above.max(Some(answer.generation));
                    unconfirmed.push(address);
                }
                Err(error) => {
                    tracing::warn!(address, %error, model = %route.model, generation = route.generation, "a router did not confirm a rollback: if it lives, it follows within `router.poll_interval_s`");
                    unconfirmed.push(address);
                }
            }
        }
        if !itself {
            acknowledged.push(THIS.to_owned());
        }
        Everywhere { acknowledged, unconfirmed, above }
    }
}
