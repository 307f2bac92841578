// Sends every connection's bytes back to it.
package export_host_cluster_connection_handler

import (
	witTypes "go.bytecodealliance.org/pkg/wit/types"
	"wit_component/host_cluster_connections"
)

func Handle(connection *host_cluster_connections.Connection) witTypes.Result[witTypes.Unit, string] {
	input, output := connection.InputStream().Ok(), connection.OutputStream().Ok()
	for open := true; open; {
		read := input.BlockingRead(4096)
		open = read.IsOk() && output.BlockingWriteAndFlush(read.Ok()).IsOk()
	}
	input.Drop()
	output.Drop()
	connection.Drop()
	return witTypes.Ok[witTypes.Unit, string](witTypes.Unit{})
}
