#!/usr/bin/env bash
# Tries what a node needs of this machine, and says what it may not do: probe.sh
#
# Ends with 0 where node.sh can be expected to work, else with 1 and the reason on one line: root
# may lack rights, as in a container without privileges, or the kernel a part. Leaves nothing.
# Needs Linux and root.
set -euo pipefail
cannot() { echo "$*"; exit 1; }

# Bytes and so on that three workers, a broker and Kubernetes itself take, with some room.
least_memory_kib=$((3 * 1024 * 1024)) least_disk_kib=$((6 * 1024 * 1024))

if [ "${1:-}" != --inside ]; then
  [ "$(uname -s)" = Linux ] || cannot "a node needs Linux"
  [ "$(id -u)" = 0 ] || cannot "a node needs root"
  memory="$(awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo)"
  [ "$memory" -ge "$least_memory_kib" ] \
    || cannot "a node needs 3 GiB of free memory, and there are $((memory / 1024)) MiB"
  disk="$(df -Pk "$(dirname "${BASH_SOURCE[0]}")" | awk 'NR == 2 { print $4 }')"
  [ "$disk" -ge "$least_disk_kib" ] \
    || cannot "a node needs 6 GiB of free disk, and there are $((disk / 1024)) MiB"
  folder="$(mktemp -d)" group="stream-processor-probe-$$"
  trap 'rm -rf "$folder"; find /sys/fs/cgroup -depth -type d -path "*/$group*" -exec rmdir {} + 2> /dev/null || true' EXIT
  unshare --net --mount --pid --fork --kill-child --mount-proc true 2> /dev/null \
    || cannot "root may not make namespaces here, as in a container without privileges"
  unshare --net --mount --pid --fork --kill-child --mount-proc "$0" --inside "$folder" "$group" || exit 1
  exit
fi

folder="$2" group="$3"
mount -t tmpfs tmpfs /run 2> /dev/null || cannot "root may not mount here"
ip link set lo up 2> /dev/null && ip link add cni0 type bridge 2> /dev/null \
  && ip link add veth0 type veth peer name veth1 2> /dev/null \
  && ip link set veth0 master cni0 2> /dev/null || cannot "the kernel makes no bridge here"
sysctl -qw net.ipv4.ip_forward=1 2> /dev/null || cannot "root may not set net.ipv4.ip_forward here"
# What Services are made of.
iptables -t nat -A PREROUTING -p tcp -m comment --comment probe -m statistic --mode random \
  --probability 0.5 -j MARK --set-xmark 0x1/0x1 2> /dev/null \
  && iptables -t nat -A POSTROUTING -m conntrack --ctstate DNAT -j MASQUERADE 2> /dev/null \
  || cannot "the kernel has not all of iptables that Services need"
# A container with limits, as a pod has them.
mkdir -p "$folder/bundle/rootfs/bin" && cp /bin/busybox "$folder/bundle/rootfs/bin/"
cd "$folder/bundle"
runc spec
sed -i -e 's/"terminal": true/"terminal": false/' -e 's|"sh"|"/bin/busybox", "true"|' \
  -e "s|\"resources\": {|\"cgroupsPath\": \"/$group/probe\", &\"memory\": {\"limit\": 67108864},|" config.json
said="$(runc --root "$folder/runc" run --no-new-keyring probe 2>&1 < /dev/null)" \
  || cannot "no container can be run here: $(tail -n 1 <<< "$said")"
