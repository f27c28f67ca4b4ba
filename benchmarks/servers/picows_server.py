"""picows, on the event loop of asyncio. Its users get frames, not messages, and join fragments themselves."""

import asyncio

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server

from .settings import MAX_SIZE, Settings, announce, read_settings

everyone: set[WSTransport] = set()


class Echo(WSListener):
    def __init__(self) -> None:
        self.kind = WSMsgType.BINARY
        self.pieces: list[bytes] = []

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        elif frame.fin and frame.msg_type != WSMsgType.CONTINUATION:
            transport.send(frame.msg_type, frame.get_payload_as_memoryview())
        else:
            self.on_fragment(transport, frame)

    def on_fragment(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != WSMsgType.CONTINUATION:
            self.kind = frame.msg_type
        self.pieces.append(frame.get_payload_as_bytes())
        if frame.fin:
            transport.send(self.kind, b"".join(self.pieces))
            self.pieces.clear()


class FanOut(WSListener):
    def on_ws_connected(self, transport: WSTransport) -> None:
        everyone.add(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
            return
        message = frame.get_payload_as_bytes()
        for connection in everyone:
            connection.send(frame.msg_type, message)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        everyone.remove(transport)


async def main(settings: Settings) -> None:
    # picows sends no pings unless it is told to, and knows no compression.
    listener = FanOut if settings.fanout else Echo
    server = await ws_create_server(lambda request: listener(), "127.0.0.1", 0, max_frame_size=MAX_SIZE)
    announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(read_settings()))
