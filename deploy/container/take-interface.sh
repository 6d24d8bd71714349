#!/bin/sh
# Puts Sluice between a workload and its interface, inside the workload's own network namespace:
#
#   workload -- eth0 (a new veth) == inside -- sluice -- uplink (the old eth0) -- network
#
# The new eth0 has the name, MAC, MTU, addresses and routes of the old one. Until `sluice run` enforces
# on the wire nothing passes. Started again, it finds its work done.
#
# Usage: take-interface.sh [INTERFACE]; needs CAP_NET_ADMIN.
set -eu
interface=${1:-eth0}
inside=sluice-inside
uplink=sluice-uplink

# The inside comes up last, when all else is done.
if ip link show dev "$inside" up 2>/dev/null | grep -q "$inside"; then exit 0; fi

link=$(ip -o link show dev "$interface")
mac=$(echo "$link" | sed -n 's|.*link/ether \([^ ]*\).*|\1|p')
mtu=$(echo "$link" | sed -n 's|.* mtu \([0-9]*\) .*|\1|p')
addresses=$(ip -o address show dev "$interface" scope global | awk '{print $4}')
# Those on the link first: the others lead by way of them.
routes() {
  ip "$1" route show dev "$interface" | grep -v ' via ' | grep -v 'proto kernel' || true
  ip "$1" route show dev "$interface" | grep ' via ' || true
}
routes4=$(routes -4)
routes6=$(routes -6 | grep -v '^fe80::/')

ip link set "$interface" down
ip link set "$interface" name "$uplink"
ip address flush dev "$uplink"
ip link set "$uplink" addrgenmode none
ip link add "$interface" address "$mac" mtu "$mtu" type veth peer name "$inside" mtu "$mtu"
ip link set "$inside" addrgenmode none
ip link set "$uplink" up
ip link set "$interface" up
for address in $addresses; do
  case $address in
    *:*) ip address add "$address" dev "$interface" nodad ;;
    *) ip address add "$address" dev "$interface" ;;
  esac
done
add() {
  echo "$2" | while read -r route; do
    # shellcheck disable=SC2086 # a route is several words
    if [ -n "$route" ]; then ip "$1" route replace $route dev "$interface"; fi
  done
}
add -4 "$routes4"
add -6 "$routes6"
ip link set "$inside" up
