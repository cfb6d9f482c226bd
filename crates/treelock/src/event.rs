//! What the lock tells `tracing`, with the feature of that name: an event when a request has to wait,
//! when it has its lock, and when it leaves. Never under the mutex, never a span.
//!
//! The request is given as a closure, so that nobody fetches it when nobody listens.

#[cfg(feature = "tracing")]
macro_rules! event {
    ($name:ident, $level:ident) => {
        pub(crate) fn $name(request: impl FnOnce() -> crate::request::Request) {
            if tracing::enabled!(target: "treelock", tracing::Level::$level) {
                let request = request();
                tracing::event!(
                    target: "treelock",
                    tracing::Level::$level,
                    label = request.get_label(),
                    roots = %request,
                    stringify!($name),
                );
            }
        }
    };
}

#[cfg(not(feature = "tracing"))]
macro_rules! event {
    ($name:ident, $level:ident) => {
        #[inline(always)]
        pub(crate) fn $name(_: impl FnOnce() -> crate::request::Request) {}
    };
}

event!(waiting, DEBUG);
event!(granted, TRACE);
event!(released, TRACE);
