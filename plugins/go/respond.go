// Answering an HTTP request with one body; shared by the handlers here.
package export_wasi_http_incoming_handler

import (
	witTypes "go.bytecodealliance.org/pkg/wit/types"
	http "wit_component/wasi_http_types"
)

func respond(out *http.ResponseOutparam, kind string, text []byte) {
	headers := http.MakeFields()
	headers.Append("content-type", []byte(kind))
	response := http.MakeOutgoingResponse(headers)
	body := response.Body().Ok()
	http.ResponseOutparamSet(out, witTypes.Ok[*http.OutgoingResponse, http.ErrorCode](response))
	stream := body.Write().Ok()
	// What one call may take; it waits until the client has.
	for len(text) > 4096 {
		stream.BlockingWriteAndFlush(text[:4096])
		text = text[4096:]
	}
	stream.BlockingWriteAndFlush(text)
	stream.Drop()
	http.OutgoingBodyFinish(body, witTypes.None[*http.Fields]())
}
