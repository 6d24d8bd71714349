#include "native/attach/pin-folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "native/bpf/link.h"

namespace sluice {

Status keepMap(const std::string& place, const BpfMapShape& shape, Descriptor* map,
               bool* isNew) noexcept {
  Status status = openPinned(place.c_str(), map);
  if (status.ok() && isMap(map->get(), shape)) return {};
  // What cannot be opened for another reason is not given up for it.
  if (!status.ok() && status.error != ENOENT) return status;
  status = createMap(shape, map);
  if (!status.ok()) return status;
  if (unlink(place.c_str()) != 0 && errno != ENOENT) return Status::system("unlink", errno);
  if (isNew != nullptr) *isNew = true;
  return pin(map->get(), place.c_str());
}

Status removePins(const std::string& folder,
                  const std::function<bool(std::string_view)>& goes) noexcept {
  DIR* const open = opendir(folder.c_str());
  if (open == nullptr) return errno == ENOENT ? Status{} : Status::system("opendir", errno);
  std::vector<std::string> names;
  while (const dirent* const entry = readdir(open)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != ".." && goes(name)) names.emplace_back(name);
  }
  closedir(open);
  for (const std::string& name : names) {
    if (unlink((folder + "/" + name).c_str()) != 0 && errno != ENOENT) {
      return Status::system("unlink", errno);
    }
  }
  return {};
}

Status networkNamespaceNumber(uint64_t* number) noexcept {
  // Not stat(): a symbol of newer versions of glibc than the addon may need.
  struct statx here = {};
  if (statx(AT_FDCWD, "/proc/thread-self/ns/net", 0, STATX_INO, &here) != 0) {
    return Status::system("statx", errno);
  }
  *number = here.stx_ino;
  return {};
}

}  // namespace sluice
