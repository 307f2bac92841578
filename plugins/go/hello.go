// Answers every request with `hello world`.
package export_wasi_http_incoming_handler

import http "wit_component/wasi_http_types"

func Handle(request *http.IncomingRequest, out *http.ResponseOutparam) {
	request.Drop()
	respond(out, "text/plain", []byte("hello world\n"))
}
