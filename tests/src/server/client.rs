//! The device management and information reporting interfaces (LwM2M Core 1.0, 5.4 and 5.5), as the server uses them
//! for one client.

use coap_lite::{CoapOption, MessageClass, Packet, RequestType};

use super::{
    RegisteredClient, Response, TestServer,
    exchange::exchange,
    format,
    message::{Block, add_number, set_path},
    tlv,
};

/// A client of a [`TestServer`], by its endpoint name. Each request looks its address up.
#[derive(Debug, Clone)]
pub struct Client<'a> {
    server: &'a TestServer,
    endpoint: String,
}

// The block size of Leshan's demo server.
const BLOCK: usize = 512;

impl<'a> Client<'a> {
    pub(super) fn new(server: &'a TestServer, endpoint: &str) -> Self {
        Self {
            server,
            endpoint: endpoint.to_owned(),
        }
    }

    /// Its current registration.
    ///
    /// # Panics
    ///
    /// If it is not registered.
    #[track_caller]
    pub fn registration(&self) -> RegisteredClient {
        let registration = self.server.registration(&self.endpoint);
        registration.unwrap_or_else(|| panic!("{} is not registered", self.endpoint))
    }

    /// Read, in the format that the client prefers.
    #[track_caller]
    pub fn read(&self, path: &str) -> Response {
        self.get(path, None)
    }

    /// Read, in this format.
    #[track_caller]
    pub fn read_as(&self, path: &str, accept: u16) -> Response {
        self.get(path, Some(accept))
    }

    /// Read of one resource as text, expected to succeed.
    #[track_caller]
    pub fn read_text(&self, path: &str) -> String {
        self.read_as(path, format::TEXT).text()
    }

    /// Discover.
    #[track_caller]
    pub fn discover(&self, path: &str) -> Response {
        self.get(path, Some(format::LINKS))
    }

    /// Write of any payload; in blocks if it is larger than one.
    #[track_caller]
    pub fn write(&self, path: &str, format: u16, payload: &[u8]) -> Response {
        if payload.len() > BLOCK {
            return self.push(path, format, payload, BLOCK);
        }
        self.put(path, format, payload)
    }

    /// Write of any payload in one message.
    #[track_caller]
    pub fn put(&self, path: &str, format: u16, payload: &[u8]) -> Response {
        self.send(RequestType::Put, path, Some(format), payload)
    }

    /// Write of one resource as text.
    #[track_caller]
    pub fn write_text(&self, path: &str, text: &str) -> Response {
        self.write(path, format::TEXT, text.as_bytes())
    }

    /// Write of the resources of a whole instance (TLV).
    #[track_caller]
    pub fn write_instance(&self, path: &str, resources: &[(u16, &[u8])]) -> Response {
        self.write(path, format::TLV, &tlv::resources(resources))
    }

    /// Write in blocks of `size` bytes (16 to 1,024), smaller if the client requests it.
    #[track_caller]
    pub fn push(&self, path: &str, format: u16, payload: &[u8], size: usize) -> Response {
        let (mut offset, mut size) = (0, size);
        loop {
            let response = self.push_block(path, format, payload, size, offset / size);
            offset += size;
            if response.code != "2.31" {
                return response;
            }
            size = response.block1.map_or(size, |asked| asked.size.min(size));
        }
    }

    /// One block of such a Write, to leave it unfinished or repeat a block.
    #[track_caller]
    pub fn push_block(
        &self,
        path: &str,
        format: u16,
        payload: &[u8],
        size: usize,
        number: usize,
    ) -> Response {
        let end = payload.len().min((number + 1) * size);
        let block = Block {
            number: number.try_into().expect("a block number"),
            more: end < payload.len(),
            size,
        };
        let mut request = request(RequestType::Put, path);
        add_number(&mut request, CoapOption::ContentFormat, format.into());
        add_number(&mut request, CoapOption::Block1, block.value());
        if number == 0 {
            let whole = payload.len().try_into().expect("a size");
            add_number(&mut request, CoapOption::Size1, whole);
        }
        request.payload = payload[number * size..end].to_vec();
        self.exchange(request, None)
    }

    /// Execute with these arguments.
    #[track_caller]
    pub fn execute(&self, path: &str, arguments: &str) -> Response {
        let format = (!arguments.is_empty()).then_some(format::TEXT);
        self.send(RequestType::Post, path, format, arguments.as_bytes())
    }

    /// Execute in one last block, like a stack that always uses Block1.
    #[track_caller]
    pub fn execute_in_a_block(&self, path: &str, arguments: &str) -> Response {
        let mut request = request(RequestType::Post, path);
        let block = Block {
            number: 0,
            more: false,
            size: BLOCK,
        };
        add_number(&mut request, CoapOption::Block1, block.value());
        request.payload = arguments.as_bytes().to_vec();
        self.exchange(request, None)
    }

    /// Create of an instance; without an id, the client chooses one.
    #[track_caller]
    pub fn create(
        &self,
        object: &str,
        instance: Option<u16>,
        resources: &[(u16, &[u8])],
    ) -> Response {
        let resources = tlv::resources(resources);
        let payload = match instance {
            Some(id) => tlv::instance(id, &resources),
            None => resources,
        };
        self.send(RequestType::Post, object, Some(format::TLV), &payload)
    }

    /// Delete.
    #[track_caller]
    pub fn delete(&self, path: &str) -> Response {
        self.send(RequestType::Delete, path, None, &[])
    }

    /// Observe of one resource as text, or of more in the format that the client prefers. Later notifications are in
    /// [`TestServer::notifications`].
    #[track_caller]
    pub fn observe(&self, path: &str) -> Response {
        let mut request = request(RequestType::Get, path);
        add_number(&mut request, CoapOption::Observe, 0);
        if path.split('/').count() == 4 {
            add_number(&mut request, CoapOption::Accept, format::TEXT.into());
        }
        let response = self.exchange(request, Some(path));
        if response.observe.is_none() {
            self.forget(path);
        }
        response
    }

    /// Cancel Observation by a Reset to the next notification of `path`.
    pub fn forget(&self, path: &str) {
        self.server
            .shared
            .state
            .with(|state| state.exchanges.forget(path));
    }

    #[track_caller]
    fn get(&self, path: &str, accept: Option<u16>) -> Response {
        let mut whole: Option<Response> = None;
        let mut next = None;
        loop {
            let mut request = request(RequestType::Get, path);
            if let Some(accept) = accept {
                add_number(&mut request, CoapOption::Accept, accept.into());
            }
            if let Some(block) = next {
                add_number(&mut request, CoapOption::Block2, Block::value(block));
            }
            let part = self.exchange(request, None);
            next = following(part.block2);
            whole = Some(match whole {
                Some(mut whole) if part.code == whole.code => {
                    whole.payload.extend(&part.payload);
                    whole
                }
                _ => part,
            });
            if next.is_none() {
                return whole.expect("a first part");
            }
        }
    }

    #[track_caller]
    fn send(
        &self,
        method: RequestType,
        path: &str,
        format: Option<u16>,
        payload: &[u8],
    ) -> Response {
        let mut request = request(method, path);
        if let Some(format) = format {
            add_number(&mut request, CoapOption::ContentFormat, format.into());
        }
        request.payload = payload.to_vec();
        self.exchange(request, None)
    }

    #[track_caller]
    fn exchange(&self, mut request: Packet, observe: Option<&str>) -> Response {
        let to = self.registration().address;
        exchange(&self.server.shared, to, &mut request, observe)
    }
}

fn following(block: Option<Block>) -> Option<Block> {
    let block = block.filter(|block| block.more)?;
    Some(Block {
        number: block.number + 1,
        more: false,
        size: block.size,
    })
}

fn request(method: RequestType, path: &str) -> Packet {
    let mut request = Packet::new();
    request.header.code = MessageClass::Request(method);
    set_path(&mut request, path);
    request
}
