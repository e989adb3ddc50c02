#!/usr/bin/env bash
# The keys of a cluster for tests: who is who in it.
#
#   pki.sh make FOLDER ADDRESS...       an authority, the API server's certificate for these
#                                       addresses, the key of service accounts, and a
#                                       certificate for each user below
#   pki.sh kubeconfig FOLDER URL USER   writes FOLDER/USER.kubeconfig; prints its path
#
# Users: admin, who may do all; controller-manager, scheduler, proxy and kubelet (of the node
# node1), who may do what Kubernetes lets them. Needs OpenSSL.
set -euo pipefail
verb="${1:-}"; folder="${2:-}"
[ -n "$folder" ] || { sed -n '2,10p' "$0" >&2; exit 2; }
mkdir -p "$folder" && folder="$(cd "$folder" && pwd)"

new() { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 "$@" 2> /dev/null; }

# $1 its file, $2 its subject: O is the group, CN the user; the rest, its names.
certificate() {
  local name="$1" subject="$2" names=(); shift 2
  if [ $# -gt 0 ]; then names=(-addext "subjectAltName=$(IFS=,; echo "$*")"); fi
  new -subj "$subject" -CA "$folder/ca.crt" -CAkey "$folder/ca.key" \
    -addext basicConstraints=CA:FALSE -addext extendedKeyUsage=serverAuth,clientAuth \
    "${names[@]}" -keyout "$folder/$name.key" -out "$folder/$name.crt"
}

case "$verb" in
  make)
    shift 2
    new -subj /CN=test-cluster -keyout "$folder/ca.key" -out "$folder/ca.crt"
    certificate api-server /CN=kube-apiserver DNS:localhost DNS:kubernetes.default.svc "${@/#/IP:}"
    certificate api-server-client /O=system:masters/CN=kube-apiserver-kubelet-client
    certificate admin /O=system:masters/CN=admin
    certificate controller-manager /CN=system:kube-controller-manager
    certificate scheduler /CN=system:kube-scheduler
    certificate proxy /CN=system:kube-proxy
    certificate kubelet /O=system:nodes/CN=system:node:node1 DNS:node1 "${@/#/IP:}"
    openssl genpkey -algorithm ec -pkeyopt ec_paramgen_curve:prime256v1 \
      -out "$folder/service-accounts.key" 2> /dev/null
    openssl pkey -in "$folder/service-accounts.key" -pubout -out "$folder/service-accounts.pub" ;;
  kubeconfig)
    cat > "$folder/$4.kubeconfig" << END
apiVersion: v1
kind: Config
clusters:
  - {name: test, cluster: {server: "$3", certificate-authority: "$folder/ca.crt"}}
users:
  - {name: $4, user: {client-certificate: "$folder/$4.crt", client-key: "$folder/$4.key"}}
contexts:
  - {name: test, context: {cluster: test, user: $4}}
current-context: test
END
    echo "$folder/$4.kubeconfig" ;;
  *) sed -n '2,10p' "$0" >&2; exit 2 ;;
esac
