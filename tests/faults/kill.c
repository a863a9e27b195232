// Brings a fault about at the n-th call that changes anything below a folder; to be preloaded.
//
// A program that has this library preloaded calls arm(); until then every call goes through. The calls are those that
// CPython makes to change files. One that concerns another folder is not counted. Threads take turns to be counted.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum mode {
  COUNT,        // nothing happens
  KILL_BEFORE,  // the process is killed before the call
  KILL_AFTER,   // ... after it
  TORN,         // ... when half of the bytes of the n-th write are written; only writes are counted
  POWER,        // ... before the call, and files that were written and not flushed since are empty
  FAIL_ONCE,    // the call fails
  FAIL_ON,      // it and all that follow fail
  FULL,         // it and all that follow fail, of those that take room; only they are counted
};

// What a call is, for modes that count some calls only.
enum kind { OTHER = 0, TAKES_ROOM = 1, WRITES = 3 };

enum verdict { GO, FAIL, DIE_AFTER, TEAR };

enum { CALLS = 1000, FILES = 1000 };

static char root[PATH_MAX];
static size_t root_length;  // 0: not armed
static enum mode mode;
static long fault_at, count;
static int fault_errno;
static char calls[CALLS][512];
static struct {
  dev_t device;
  ino_t number;
} unflushed[FILES];
static size_t unflushed_count;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;  // of what is above

void arm(const char* folder, long n, int chosen, int error) {
  snprintf(root, sizeof root, "%s", folder);
  root_length = strlen(root);
  mode = (enum mode)chosen;
  fault_at = n;
  fault_errno = error;
  count = 0;
  unflushed_count = 0;
}

// Calls that were counted since arm().
long counted(void) { return count; }

// Name and path below the folder of the n-th of them, n from 1.
const char* called(long n) { return n >= 1 && n <= count && n <= CALLS ? calls[n - 1] : ""; }

#define REAL(name) ((__typeof__(&(name)))dlsym(RTLD_NEXT, #name))

// The absolute path that a call concerns, in out; null unless it is below the folder. A null path is that of the
// descriptor itself.
static const char* concerned(int descriptor, const char* path, char out[2 * PATH_MAX]) {
  if (root_length == 0) return NULL;
  size_t length = 0;
  if (path == NULL || path[0] != '/') {
    char link[64] = "/proc/self/cwd";
    if (descriptor != AT_FDCWD) snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    const ssize_t found = readlink(link, out, PATH_MAX - 1);
    if (found < 0) return NULL;
    length = (size_t)found;
    if (path != NULL) out[length++] = '/';
  }
  snprintf(out + length, PATH_MAX, "%s", path == NULL ? "" : path);
  if (strncmp(out, root, root_length) != 0) return NULL;
  return out[root_length] == '/' || out[root_length] == '\0' ? out : NULL;
}

static int is_unflushed(const struct stat* status, size_t* at) {
  for (*at = 0; *at < unflushed_count; ++*at)
    if (unflushed[*at].device == status->st_dev && unflushed[*at].number == status->st_ino) return 1;
  return 0;
}

static void written(int descriptor) {
  struct stat status;
  size_t at;
  if (fstat(descriptor, &status) != 0) return;
  pthread_mutex_lock(&turn);
  if (!is_unflushed(&status, &at) && unflushed_count < FILES) {
    unflushed[unflushed_count].device = status.st_dev;
    unflushed[unflushed_count++].number = status.st_ino;
  }
  pthread_mutex_unlock(&turn);
}

static void flushed(int descriptor) {
  struct stat status;
  size_t at;
  if (fstat(descriptor, &status) != 0) return;
  pthread_mutex_lock(&turn);
  if (is_unflushed(&status, &at)) unflushed[at] = unflushed[--unflushed_count];
  pthread_mutex_unlock(&turn);
}

static int empty_if_unflushed(const char* path, const struct stat* status, int type, struct FTW* place) {
  (void)place;
  size_t at;
  if (type == FTW_F && is_unflushed(status, &at) && truncate(path, 0) != 0) perror(path);
  return 0;
}

static void die(void) {
  for (;;) kill(getpid(), SIGKILL);
}

// Counts a call, and says what becomes of it.
static enum verdict count_call(const char* name, const char* path, enum kind kind) {
  if (mode == FULL && !(kind & TAKES_ROOM)) return GO;
  if (mode == TORN && kind != WRITES) return GO;
  if (count < CALLS) snprintf(calls[count], sizeof calls[0], "%s %.400s", name, path + root_length);
  ++count;
  if (mode == COUNT || count < fault_at) return GO;
  if (mode == FAIL_ON || mode == FULL || (mode == FAIL_ONCE && count == fault_at)) return FAIL;
  if (mode == FAIL_ONCE) return GO;
  if (mode == KILL_AFTER) return DIE_AFTER;
  if (mode == TORN) return TEAR;
  if (mode == POWER) nftw(root, empty_if_unflushed, 16, FTW_PHYS);
  die();
  return GO;
}

static enum verdict judge(const char* name, const char* path, enum kind kind) {
  pthread_mutex_lock(&turn);
  const enum verdict verdict = count_call(name, path, kind);
  pthread_mutex_unlock(&turn);
  return verdict;
}

// The body of a function that is not a write: its call, unless the fault comes first.
#define PASS(name, kind, descriptor, path, call)                        \
  char buffer[2 * PATH_MAX];                                            \
  const char* at = concerned(descriptor, path, buffer);                 \
  const enum verdict verdict = at == NULL ? GO : judge(name, at, kind); \
  if (verdict == FAIL) {                                                \
    errno = fault_errno;                                                \
    return -1;                                                          \
  }                                                                     \
  const int result = (call);                                            \
  if (verdict == DIE_AFTER) die();                                      \
  return result

// The body of a function that writes `size` bytes at most; `call` takes as many as `length` says.
#define PASS_WRITE(name, descriptor, size, call)                          \
  char buffer[2 * PATH_MAX];                                              \
  const char* at = concerned(descriptor, NULL, buffer);                   \
  const enum verdict verdict = at == NULL ? GO : judge(name, at, WRITES); \
  if (verdict == FAIL) {                                                  \
    errno = fault_errno;                                                  \
    return -1;                                                            \
  }                                                                       \
  const size_t length = verdict == TEAR ? (size) / 2 : (size);            \
  const ssize_t result = (call);                                          \
  if (at != NULL) written(descriptor);                                    \
  if (verdict == TEAR || verdict == DIE_AFTER) die();                     \
  return result

ssize_t write(int file, const void* bytes, size_t size) {
  PASS_WRITE("write", file, size, REAL(write)(file, bytes, length));
}

ssize_t pwrite(int file, const void* bytes, size_t size, off_t offset) {
  PASS_WRITE("pwrite", file, size, REAL(pwrite)(file, bytes, length, offset));
}

ssize_t pwrite64(int file, const void* bytes, size_t size, off64_t offset) {
  PASS_WRITE("pwrite", file, size, REAL(pwrite64)(file, bytes, length, offset));
}

// A file that is opened without O_CREAT or O_TRUNC stays as it is.
#define PASS_OPEN(descriptor, path, flags, call)                 \
  mode_t bits = 0;                                               \
  if ((flags) & O_CREAT || ((flags) & O_TMPFILE) == O_TMPFILE) { \
    va_list more;                                                \
    va_start(more, flags);                                       \
    bits = va_arg(more, mode_t);                                 \
    va_end(more);                                                \
  }                                                              \
  if (!((flags) & (O_CREAT | O_TRUNC))) return (call);           \
  PASS("open", TAKES_ROOM, descriptor, path, call)

int open(const char* path, int flags, ...) { PASS_OPEN(AT_FDCWD, path, flags, REAL(open)(path, flags, bits)); }

int open64(const char* path, int flags, ...) { PASS_OPEN(AT_FDCWD, path, flags, REAL(open64)(path, flags, bits)); }

int openat(int folder, const char* path, int flags, ...) {
  PASS_OPEN(folder, path, flags, REAL(openat)(folder, path, flags, bits));
}

int openat64(int folder, const char* path, int flags, ...) {
  PASS_OPEN(folder, path, flags, REAL(openat64)(folder, path, flags, bits));
}

// Nothing is brought to the disk, which takes long: only a loss of power could tell, and here POWER does.
static int flush(int file) {
  if (fcntl(file, F_GETFD) < 0) return -1;
  flushed(file);
  return 0;
}

int fsync(int file) { PASS("fsync", OTHER, file, NULL, flush(file)); }

int fdatasync(int file) { PASS("fdatasync", OTHER, file, NULL, flush(file)); }

int ftruncate(int file, off_t length) { PASS("ftruncate", OTHER, file, NULL, REAL(ftruncate)(file, length)); }

int ftruncate64(int file, off64_t length) { PASS("ftruncate", OTHER, file, NULL, REAL(ftruncate64)(file, length)); }

int chmod(const char* path, mode_t bits) { PASS("chmod", OTHER, AT_FDCWD, path, REAL(chmod)(path, bits)); }

int fchmod(int file, mode_t bits) { PASS("chmod", OTHER, file, NULL, REAL(fchmod)(file, bits)); }

int fchmodat(int folder, const char* path, mode_t bits, int flags) {
  PASS("chmod", OTHER, folder, path, REAL(fchmodat)(folder, path, bits, flags));
}

int mkdir(const char* path, mode_t bits) { PASS("mkdir", TAKES_ROOM, AT_FDCWD, path, REAL(mkdir)(path, bits)); }

int mkdirat(int folder, const char* path, mode_t bits) {
  PASS("mkdir", TAKES_ROOM, folder, path, REAL(mkdirat)(folder, path, bits));
}

// Of calls with two paths, the new one counts.
int rename(const char* from, const char* to) { PASS("rename", OTHER, AT_FDCWD, to, REAL(rename)(from, to)); }

int renameat(int folder, const char* from, int target, const char* to) {
  PASS("rename", OTHER, target, to, REAL(renameat)(folder, from, target, to));
}

int link(const char* from, const char* to) { PASS("link", TAKES_ROOM, AT_FDCWD, to, REAL(link)(from, to)); }

int linkat(int folder, const char* from, int target, const char* to, int flags) {
  PASS("link", TAKES_ROOM, target, to, REAL(linkat)(folder, from, target, to, flags));
}

int unlink(const char* path) { PASS("unlink", OTHER, AT_FDCWD, path, REAL(unlink)(path)); }

int unlinkat(int folder, const char* path, int flags) {
  PASS(flags & AT_REMOVEDIR ? "rmdir" : "unlink", OTHER, folder, path, REAL(unlinkat)(folder, path, flags));
}

int rmdir(const char* path) { PASS("rmdir", OTHER, AT_FDCWD, path, REAL(rmdir)(path)); }
