//! A network that fails when told: a relay between clients and a server, over which connections are cut, delayed or
//! silent.
//!
//! It runs on threads of its own, so that it goes on whatever the test waits for.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::PATIENCE;

/// A relay. Dropped, all its connections are cut and it takes no more.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    open: Vec<(u64, [TcpStream; 2])>,
    made: u64,
    /// How what passes is treated.
    network: Network,
    trap: Option<Trap>,
    /// How the network is from then on.
    then: Option<Network>,
    /// How often that happened.
    sprung: u64,
    over: bool,
}

/// What a client says that is cut off, at which moment.
#[derive(Debug)]
struct Trap {
    /// What has to be said before it, on the same connection.
    after: Option<Vec<u8>>,
    /// The connection on which that was said last.
    on: Option<u64>,
    said: Vec<u8>,
    moment: Moment,
}

/// How a network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Network {
    /// As it should be.
    #[default]
    Well,
    /// Each piece takes so much longer, both ways.
    Slow(Duration),
    /// Nothing comes through, and nobody is told.
    Silent,
    /// All connections are cut, and new ones closed at once.
    Down,
}

/// When a connection is cut at something that a client says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before the server hears of it.
    Asked,
    /// When the server has done it, before the client hears of that: an answer names what was done in the same word.
    Answered,
}

impl Relay {
    /// A relay to this server.
    ///
    /// # Panics
    /// If there is no port for it.
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (state, changed) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { server, state, changed });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accepting.accept(&listener));
        Self { address, shared }
    }

    /// Where clients reach it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How the network is from now on.
    pub fn set(&self, network: Network) {
        let mut state = self.shared.lock();
        state.network = network;
        if network == Network::Down {
            state.cut_all();
        }
        self.shared.changed.notify_all();
    }

    /// Cuts all connections; new ones can be made.
    pub fn cut(&self) {
        self.shared.lock().cut_all();
    }

    /// Cuts the first connection on which a client says this, at that moment of it.
    pub fn cut_at(&self, said: &[u8], moment: Moment) {
        self.shared.lock().set_trap(None, said, moment);
    }

    /// As [`cut_at`](Self::cut_at), on the connection on which something else was said last, before it or with it.
    pub fn cut_at_after(&self, after: &[u8], said: &[u8], moment: Moment) {
        self.shared.lock().set_trap(Some(after), said, moment);
    }

    /// As [`cut_at`](Self::cut_at), and the network is down from that moment on.
    pub fn down_at(&self, said: &[u8], moment: Moment) {
        let mut state = self.shared.lock();
        state.set_trap(None, said, moment);
        state.then = Some(Network::Down);
    }

    /// From the first time that a client says this on, nothing comes through, beginning with that.
    pub fn silent_at(&self, said: &[u8]) {
        let mut state = self.shared.lock();
        state.set_trap(None, said, Moment::Asked);
        state.then = Some(Network::Silent);
    }

    /// How often a trap of these was sprung.
    pub fn cuts(&self) -> u64 {
        self.shared.lock().sprung
    }

    /// Waits until it did so often.
    ///
    /// # Panics
    /// If it does not.
    pub fn until_cut(&self, times: u64) {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.shared.lock();
        while state.sprung < times {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no connection was cut: nobody said what it was to be cut at");
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.shared.lock().open.len()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.over = true;
        state.cut_all();
        drop(state);
        self.shared.changed.notify_all();
        // So that whoever accepts looks up.
        let _ = TcpStream::connect(self.address);
    }
}

impl State {
    fn set_trap(&mut self, after: Option<&[u8]>, said: &[u8], moment: Moment) {
        let (after, said) = (after.map(<[u8]>::to_vec), said.to_vec());
        (self.trap, self.then) = (Some(Trap { after, on: None, said, moment }), None);
    }

    /// What a client says on this connection. The trap, if it is caught in it.
    fn caught(&mut self, number: u64, says: impl Fn(&[u8]) -> bool) -> Option<Trap> {
        let trap = self.trap.as_mut()?;
        if trap.after.as_deref().is_some_and(&says) {
            trap.on = Some(number);
        }
        let here = trap.after.is_none() || trap.on == Some(number);
        self.trap.take_if(|trap| here && says(&trap.said))
    }

    fn cut_all(&mut self) {
        for (_, ends) in self.open.drain(..) {
            shut(&ends);
        }
    }
}

fn shut(ends: &[TcpStream]) {
    for end in ends {
        // It may be closed already.
        let _ = end.shutdown(Shutdown::Both);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something comes through.
    fn heard_again<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        while state.network == Network::Silent && !state.over {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            if self.lock().over {
                return;
            }
            // A server that is not there is a connection that is closed.
            if let Ok(client) = client {
                let _ = self.connect(client);
            }
        }
    }

    fn connect(self: &Arc<Self>, client: TcpStream) -> io::Result<()> {
        if self.lock().network == Network::Down {
            return Ok(());
        }
        let server = TcpStream::connect(self.server)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let ends = [client.try_clone()?, server.try_clone()?];
        let number = {
            let mut state = self.lock();
            state.made += 1;
            let number = state.made;
            state.open.push((number, ends));
            number
        };
        let there = Pass { shared: Arc::clone(self), number, asks: true };
        let back = Pass { shared: Arc::clone(self), number, asks: false };
        let trapped = Arc::new(Mutex::new(None));
        let (from, to, seen) = (client.try_clone()?, server.try_clone()?, Arc::clone(&trapped));
        thread::spawn(move || there.all(from, to, &seen));
        thread::spawn(move || back.all(server, client, &trapped));
        Ok(())
    }
}

/// One direction of a connection.
struct Pass {
    shared: Arc<Shared>,
    number: u64,
    /// Whether it is what the client says.
    asks: bool,
}

impl Pass {
    /// Passes on until one end is closed. `trapped`: the answer that says this is not to come through.
    fn all(&self, mut from: TcpStream, mut to: TcpStream, trapped: &Mutex<Option<Vec<u8>>>) {
        let mut bytes = vec![0; 64 << 10];
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            if !self.may_pass(&bytes[..read], trapped) || to.write_all(&bytes[..read]).is_err() {
                break;
            }
        }
        shut(&[from, to]);
        self.shared.lock().open.retain(|(number, _)| *number != self.number);
    }

    /// Waits as the network is, and tells whether the connection goes on.
    fn may_pass(&self, bytes: &[u8], trapped: &Mutex<Option<Vec<u8>>>) -> bool {
        let mut state = self.shared.heard_again(self.shared.lock());
        if let Network::Slow(by) = state.network {
            drop(state);
            thread::sleep(by);
            state = self.shared.lock();
        }
        let mut trapped = trapped.lock().unwrap_or_else(PoisonError::into_inner);
        let says = |said: &[u8]| bytes.windows(said.len()).any(|window| window == said);
        let caught = if self.asks { state.caught(self.number, says) } else { None };
        match caught {
            Some(Trap { said, moment: Moment::Answered, .. }) => *trapped = Some(said),
            Some(Trap { moment: Moment::Asked, .. }) => {
                self.sprung(&mut state);
                if state.then != Some(Network::Silent) {
                    return false;
                }
                // Whoever passes on the other way looks at it, with the state in its hands.
                drop(trapped);
                state = self.shared.heard_again(state);
            }
            None if !self.asks && trapped.as_deref().is_some_and(says) => {
                self.sprung(&mut state);
                return false;
            }
            None => {}
        }
        state.network != Network::Down
    }

    fn sprung(&self, state: &mut State) {
        state.sprung += 1;
        if let Some(then) = state.then {
            state.network = then;
        }
        if state.network == Network::Down {
            state.cut_all();
        }
        self.shared.changed.notify_all();
    }
}
