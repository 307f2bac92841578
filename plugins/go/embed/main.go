// embed TYPE.o MODULE.wasm OUT.wasm writes the module with the component type that wit-bindgen left in an object file.
// The host makes a component of such a module by itself.
package main

import (
	"bytes"
	"encoding/binary"
	"log"
	"os"
)

const header = 8

// The custom section whose name begins with `component-type`, with its head.
func componentType(object []byte) []byte {
	for at := header; at < len(object); {
		size, n := binary.Uvarint(object[at+1:])
		body := object[at+1+n : at+1+n+int(size)]
		length, m := binary.Uvarint(body)
		if object[at] == 0 && bytes.HasPrefix(body[m:m+int(length)], []byte("component-type")) {
			return object[at : at+1+n+int(size)]
		}
		at += 1 + n + int(size)
	}
	log.Fatal("embed: the object file holds no component type")
	return nil
}

func main() {
	log.SetFlags(0)
	object, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	module, err := os.ReadFile(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(os.Args[3], append(module, componentType(object)...), 0o644); err != nil {
		log.Fatal(err)
	}
}
