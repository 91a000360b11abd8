//! A disk that fails when told: a SQLite VFS over the platform's own.
//!
//! It counts writes and syncs, fails the n-th with a given code, says how often it did so, can be slow or stand still, and can
//! remember what each file held when it was last synced, which is what a power cut may leave behind, or
//! write down all that happens (see `crash_image`).
//! One of the three files where `unsafe` is allowed: a VFS is a table of C functions. Each function
//! here forwards to the platform's, whose contracts it inherits.
#![allow(unsafe_code, reason = "SQLite calls a VFS through C function pointers")]

use std::{
    collections::HashMap,
    ffi::{CStr, CString, c_char, c_int, c_void},
    path::{Path, PathBuf},
    ptr,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::ffi::{
    SQLITE_IOERR, SQLITE_OK, SQLITE_OPEN_MAIN_DB, SQLITE_OPEN_WAL, sqlite3_file, sqlite3_filename,
    sqlite3_int64, sqlite3_io_methods, sqlite3_vfs, sqlite3_vfs_find, sqlite3_vfs_register,
};

/// What can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// A write to any file.
    Write,
    /// A sync of any file.
    Sync,
    /// A sync of the database file, which only checkpoints do.
    DatabaseSync,
}

/// Which file a handle is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Database,
    Log,
    Other,
}

/// Something that happened to a disk.
#[derive(Debug, Clone)]
pub enum Record {
    /// Bytes were written to a file.
    Write {
        /// Which.
        path: PathBuf,
        /// Where in it.
        at: usize,
        /// What.
        bytes: Vec<u8>,
    },
    /// A file was cut to a size.
    Truncate {
        /// Which.
        path: PathBuf,
        /// How long it is now.
        size: usize,
    },
    /// A file was synced.
    Sync(PathBuf),
    /// A file was deleted.
    Delete(PathBuf),
    /// What a test wanted to have noted.
    Mark(usize),
}

#[derive(Debug, Clone, Copy)]
struct Fault {
    call: Call,
    /// The first call that fails, counted as `counts` does.
    from: u64,
    code: c_int,
    /// Whether all later calls fail as well.
    lasting: bool,
}

#[derive(Debug, Default)]
struct Disk {
    counts: HashMap<Call, u64>,
    faults: Vec<Fault>,
    fired: u64,
    /// By path: the content at the last sync. `None`: nobody asked.
    synced: Option<HashMap<PathBuf, Vec<u8>>>,
    /// What happened, in order. `None`: nobody asked.
    records: Option<Vec<Record>>,
}

impl Disk {
    fn record(&mut self, record: impl FnOnce() -> Record) {
        if let Some(records) = &mut self.records {
            records.push(record());
        }
    }

    /// Counts a call; the code if it is to fail.
    fn call(&mut self, call: Call) -> Option<c_int> {
        let count = self.counts.entry(call).or_default();
        *count += 1;
        let now = *count;
        let hit = self.faults.iter().find(|fault| {
            fault.call == call && (now == fault.from || fault.lasting && now > fault.from)
        })?;
        self.fired += 1;
        Some(hit.code)
    }
}

/// A registered VFS. It lives as long as the process: SQLite keeps pointers to it.
#[derive(Debug, Clone)]
pub struct FaultVfs {
    name: String,
    disk: Arc<Mutex<Disk>>,
    still: Arc<Still>,
}

/// Whether syncs wait, and who is told when they need not any more.
#[derive(Debug, Default)]
struct Still {
    is: Mutex<bool>,
    over: Condvar,
    /// What each takes longer, also where none waits.
    longer: Mutex<Duration>,
}

/// A disk that stands still as long as this is kept. A test that fails meanwhile lets it go on, and so ends.
#[derive(Debug)]
pub struct StandStill(Arc<Still>);

impl Drop for StandStill {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl Still {
    fn set(&self, still: bool) {
        *self.is.lock().unwrap_or_else(PoisonError::into_inner) = still;
        self.over.notify_all();
    }

    fn wait(&self) {
        let is = self.is.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.over.wait_while(is, |still| *still));
        std::thread::sleep(*self.longer.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl FaultVfs {
    /// Registers a VFS under this name, which no other may have.
    pub fn register(name: &str) -> Self {
        let disk = Arc::<Mutex<Disk>>::default();
        let still = Arc::<Still>::default();
        let zname = CString::new(name).expect("invariant: a name has no zero byte").into_raw();
        // SAFETY: SQLite gives its default VFS, which is never unregistered; the new one and all that
        // it points to are leaked.
        unsafe {
            let real = sqlite3_vfs_find(ptr::null());
            let data = Box::into_raw(Box::new(Shim {
                real,
                disk: Arc::clone(&disk),
                still: Arc::clone(&still),
            }));
            let vfs = sqlite3_vfs {
                iVersion: 1,
                szOsFile: c_int::try_from(size_of::<File>()).expect("invariant: small")
                    + (*real).szOsFile,
                pNext: ptr::null_mut(),
                zName: zname,
                pAppData: data.cast(),
                xOpen: Some(open),
                xDelete: Some(delete),
                xAccess: Some(access),
                xFullPathname: Some(full_pathname),
                ..*real
            };
            sqlite3_vfs_register(Box::into_raw(Box::new(vfs)), 0);
        }
        Self { name: name.to_owned(), disk, still }
    }

    /// The name to open databases with.
    pub fn name(&self) -> String {
        self.name.clone()
    }

    /// The n-th call from now on, counted from 1, fails with this SQLite code.
    pub fn fail_once(&self, call: Call, nth: u64, code: c_int) {
        self.arm(call, nth, code, false);
    }

    /// The n-th call from now on and all after it fail, until [`heal`](Self::heal).
    pub fn fail_from(&self, call: Call, nth: u64, code: c_int) {
        self.arm(call, nth, code, true);
    }

    fn arm(&self, call: Call, nth: u64, code: c_int, lasting: bool) {
        let from = self.count(call) + nth;
        self.disk().faults.push(Fault { call, from, code, lasting });
    }

    /// No call fails any more.
    pub fn heal(&self) {
        self.disk().faults.clear();
    }

    /// From now on, syncs wait, until what this answers with is dropped.
    pub fn stand_still(&self) -> StandStill {
        self.still.set(true);
        StandStill(Arc::clone(&self.still))
    }

    /// From now on, each sync takes so much longer.
    pub fn slow_down(&self, by: Duration) {
        *self.still.longer.lock().unwrap_or_else(PoisonError::into_inner) = by;
    }

    /// How often this was called so far.
    pub fn count(&self, call: Call) -> u64 {
        self.disk().counts.get(&call).copied().unwrap_or(0)
    }

    /// How many calls were made to fail so far.
    pub fn fired(&self) -> u64 {
        self.disk().fired
    }

    /// From now on, remember what each file held when it was last synced.
    pub fn remember_synced(&self) {
        self.disk().synced = Some(HashMap::new());
    }

    /// Puts into `folder` what a power cut would leave: of each file, what was synced, and no more.
    pub fn cut_power(&self, folder: &Path) -> std::io::Result<()> {
        for (path, content) in self.disk().synced.iter().flatten() {
            std::fs::write(folder.join(path.file_name().unwrap_or_default()), content)?;
        }
        Ok(())
    }

    /// From now on, write down what happens.
    pub fn record(&self) {
        self.disk().records = Some(Vec::new());
    }

    /// Writes down that something else happened, such as an acknowledgement.
    pub fn mark(&self, mark: usize) {
        self.disk().record(|| Record::Mark(mark));
    }

    /// What was written down.
    pub fn records(&self) -> Vec<Record> {
        self.disk().records.clone().unwrap_or_default()
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a VFS of ours points to.
struct Shim {
    real: *mut sqlite3_vfs,
    disk: Arc<Mutex<Disk>>,
    still: Arc<Still>,
}

/// A handle of ours; the platform's own lies right behind it, in the room that `szOsFile` reserved.
// SQLite aligns handles at 8 bytes.
#[repr(C, align(8))]
struct File {
    base: sqlite3_file,
    shim: *const Shim,
    kind: Kind,
    /// Leaked: a few bytes for each open in a test.
    path: *const c_char,
}

/// The platform's handle behind ours.
unsafe fn real(file: *mut sqlite3_file) -> *mut sqlite3_file {
    unsafe { file.cast::<File>().add(1).cast() }
}

unsafe fn shim<'a>(vfs: *mut sqlite3_vfs) -> &'a Shim {
    unsafe { &*(*vfs).pAppData.cast::<Shim>() }
}

/// Calls a method of the platform's handle.
macro_rules! forward {
    ($file:ident, $method:ident $(, $arg:expr)*) => {{
        let file = unsafe { real($file) };
        let method = unsafe { (*(*file).pMethods).$method };
        unsafe { method.expect("invariant: the platform's VFS has it")(file $(, $arg)*) }
    }};
}

/// Counts a call of a handle; the code if it is to fail.
unsafe fn injected(file: *mut sqlite3_file, call: Call) -> Option<c_int> {
    let file = unsafe { &*file.cast::<File>() };
    let mut disk = unsafe { &*file.shim }.disk.lock().unwrap_or_else(PoisonError::into_inner);
    let hit = disk.call(call);
    match (call, file.kind) {
        (Call::Sync, Kind::Database) => hit.or(disk.call(Call::DatabaseSync)),
        _ => hit,
    }
}

unsafe extern "C" fn open(
    vfs: *mut sqlite3_vfs,
    name: sqlite3_filename,
    file: *mut sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let shim = unsafe { shim(vfs) };
    let kind = match flags {
        flags if flags & SQLITE_OPEN_MAIN_DB != 0 => Kind::Database,
        flags if flags & SQLITE_OPEN_WAL != 0 => Kind::Log,
        _ => Kind::Other,
    };
    let path = match name.is_null() {
        true => ptr::null(),
        false => unsafe { CStr::from_ptr(name) }.to_owned().into_raw().cast_const(),
    };
    unsafe {
        file.cast::<File>().write(File {
            base: sqlite3_file { pMethods: ptr::null() },
            shim,
            kind,
            path,
        });
        let behind = real(file);
        (*behind).pMethods = ptr::null();
        let open = (*shim.real).xOpen.expect("invariant: the platform's VFS opens files");
        let code = open(shim.real, name, behind, flags, out_flags);
        if !(*behind).pMethods.is_null() {
            (*file).pMethods = &raw const METHODS;
        }
        code
    }
}

unsafe extern "C" fn delete(vfs: *mut sqlite3_vfs, name: *const c_char, sync: c_int) -> c_int {
    let shim = unsafe { shim(vfs) };
    // As if the folder were synced: the store does that itself, past this VFS, before it is open.
    let path = PathBuf::from(unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned());
    let mut disk = shim.disk.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(synced) = &mut disk.synced {
        synced.remove(&path);
    }
    disk.record(|| Record::Delete(path));
    drop(disk);
    unsafe {
        let delete = (*shim.real).xDelete.expect("invariant: the platform's VFS deletes files");
        delete(shim.real, name, sync)
    }
}

unsafe extern "C" fn access(
    vfs: *mut sqlite3_vfs,
    name: *const c_char,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    unsafe {
        let real = shim(vfs).real;
        (*real).xAccess.expect("invariant: the platform's VFS finds files")(real, name, flags, out)
    }
}

unsafe extern "C" fn full_pathname(
    vfs: *mut sqlite3_vfs,
    name: *const c_char,
    len: c_int,
    out: *mut c_char,
) -> c_int {
    unsafe {
        let real = shim(vfs).real;
        (*real).xFullPathname.expect("invariant: the platform's VFS knows paths")(
            real, name, len, out,
        )
    }
}

/// Version 2: shared memory, but no memory-mapped reads.
static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    forward!(file, xClose)
}

unsafe extern "C" fn read(
    file: *mut sqlite3_file,
    into: *mut c_void,
    len: c_int,
    at: sqlite3_int64,
) -> c_int {
    forward!(file, xRead, into, len, at)
}

unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    from: *const c_void,
    len: c_int,
    at: sqlite3_int64,
) -> c_int {
    if let Some(code) = unsafe { injected(file, Call::Write) } {
        return code;
    }
    let (at_byte, count) = (usize::try_from(at).unwrap_or(0), usize::try_from(len).unwrap_or(0));
    // SAFETY: SQLite hands over so many bytes.
    let bytes = || unsafe { std::slice::from_raw_parts(from.cast::<u8>(), count) }.to_vec();
    unsafe { record(file, |path| Record::Write { path, at: at_byte, bytes: bytes() }) };
    forward!(file, xWrite, from, len, at)
}

/// Writes down what happens to a file that has a name.
unsafe fn record(file: *mut sqlite3_file, what: impl FnOnce(PathBuf) -> Record) {
    let ours = unsafe { &*file.cast::<File>() };
    if ours.path.is_null() {
        return;
    }
    let path =
        || PathBuf::from(unsafe { CStr::from_ptr(ours.path) }.to_string_lossy().into_owned());
    let mut disk = unsafe { &*ours.shim }.disk.lock().unwrap_or_else(PoisonError::into_inner);
    disk.record(|| what(path()));
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: sqlite3_int64) -> c_int {
    let cut = usize::try_from(size).unwrap_or(0);
    unsafe { record(file, |path| Record::Truncate { path, size: cut }) };
    forward!(file, xTruncate, size)
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    unsafe { &*(*file.cast::<File>()).shim }.still.wait();
    if let Some(code) = unsafe { injected(file, Call::Sync) } {
        return code;
    }
    let code = forward!(file, xSync, flags);
    unsafe { record(file, Record::Sync) };
    if code == SQLITE_OK { unsafe { remember(file) } } else { code }
}

/// Keeps what a file holds right after its sync. Reads through SQLite's own handle: opening and
/// closing the file once more would drop the locks on it (POSIX).
unsafe fn remember(file: *mut sqlite3_file) -> c_int {
    let ours = unsafe { &*file.cast::<File>() };
    let mut disk = unsafe { &*ours.shim }.disk.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(synced) = &mut disk.synced else {
        return SQLITE_OK;
    };
    let mut size: sqlite3_int64 = 0;
    if forward!(file, xFileSize, &raw mut size) != SQLITE_OK {
        return SQLITE_IOERR;
    }
    let mut content = vec![0_u8; usize::try_from(size).unwrap_or(0)];
    let len = c_int::try_from(content.len()).unwrap_or(c_int::MAX);
    if len > 0 && forward!(file, xRead, content.as_mut_ptr().cast(), len, 0) != SQLITE_OK {
        return SQLITE_IOERR;
    }
    if !ours.path.is_null() {
        let path = unsafe { CStr::from_ptr(ours.path) }.to_string_lossy().into_owned();
        synced.insert(path.into(), content);
    }
    SQLITE_OK
}

unsafe extern "C" fn file_size(file: *mut sqlite3_file, size: *mut sqlite3_int64) -> c_int {
    forward!(file, xFileSize, size)
}

unsafe extern "C" fn lock(file: *mut sqlite3_file, level: c_int) -> c_int {
    forward!(file, xLock, level)
}

unsafe extern "C" fn unlock(file: *mut sqlite3_file, level: c_int) -> c_int {
    forward!(file, xUnlock, level)
}

unsafe extern "C" fn check_reserved_lock(file: *mut sqlite3_file, out: *mut c_int) -> c_int {
    forward!(file, xCheckReservedLock, out)
}

unsafe extern "C" fn file_control(file: *mut sqlite3_file, op: c_int, arg: *mut c_void) -> c_int {
    forward!(file, xFileControl, op, arg)
}

unsafe extern "C" fn sector_size(file: *mut sqlite3_file) -> c_int {
    forward!(file, xSectorSize)
}

unsafe extern "C" fn device_characteristics(file: *mut sqlite3_file) -> c_int {
    forward!(file, xDeviceCharacteristics)
}

unsafe extern "C" fn shm_map(
    file: *mut sqlite3_file,
    page: c_int,
    size: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    forward!(file, xShmMap, page, size, extend, out)
}

unsafe extern "C" fn shm_lock(file: *mut sqlite3_file, at: c_int, n: c_int, flags: c_int) -> c_int {
    forward!(file, xShmLock, at, n, flags)
}

unsafe extern "C" fn shm_barrier(file: *mut sqlite3_file) {
    forward!(file, xShmBarrier);
}

unsafe extern "C" fn shm_unmap(file: *mut sqlite3_file, delete: c_int) -> c_int {
    forward!(file, xShmUnmap, delete)
}
