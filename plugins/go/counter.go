// The worker of the Counter program: tells the primary program about every request.
package export_wasi_http_incoming_handler

import (
	ipc "wit_component/host_cluster_ipc"
	http "wit_component/wasi_http_types"
)

func Handle(request *http.IncomingRequest, out *http.ResponseOutparam) {
	request.Drop()
	ipc.BlockingSend([]byte(`{"cmd":"notifyRequest"}`))
	respond(out, "text/plain", []byte("hello world\n"))
}
